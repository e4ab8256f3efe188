"""What each service does once a second: a real piece of work, and the line that it logs about it."""

import json
import random
import time
from collections.abc import Callable, Mapping
from typing import Final

from toolbox.lab.tracker.data import Data

_GEOFENCE_QUEUE: Final = "queue:geofence"
_NOTIFICATION_QUEUE: Final = "queue:notifications"
_TRACKERS: Final = 200  # what the schema is seeded with
_LOW_BATTERIES: Final = 0.25  # of all reports
_METRES_A_DEGREE: Final = 111_320


def _admin(data: Data) -> str:
    [(trackers, waiting)] = data.query(
        "SELECT (SELECT count(*) FROM tracker.trackers WHERE active),"
        " (SELECT count(*) FROM tracker.notifications WHERE delivered_at IS NULL)"
    )
    queued = data.command("LLEN", _NOTIFICATION_QUEUE)
    data.get("api", "/health")
    return f"dashboard: {trackers} active trackers, {waiting} undelivered notifications, {queued} queued"


def _anisette(_: Data) -> str:
    return "anisette data provisioned for 1 machine"


def _api(data: Data) -> str:
    began = time.monotonic()
    [(positions,)] = data.query("SELECT count(*) FROM tracker.positions WHERE recorded_at > now() - interval '1 hour'")
    data.command("SET", "api:last-seen", int(time.time()), "EX", 60)
    return f"GET /positions 200 {1000 * (time.monotonic() - began):.0f} ms, {positions} rows"


def _frontend(data: Data) -> str:
    trackers = json.loads(data.get("api", "/trackers"))["trackers"]
    return f"GET / 200, {len(trackers)} trackers shown"


def _materialized_view(data: Data) -> str:
    began = time.monotonic()
    data.query("REFRESH MATERIALIZED VIEW CONCURRENTLY tracker.latest_positions")
    return f"refreshed latest_positions in {1000 * (time.monotonic() - began):.0f} ms"


def _notification(data: Data) -> str:
    number = data.command("LPOP", _NOTIFICATION_QUEUE)
    if number is None:
        return "no notification to deliver"
    data.query("UPDATE tracker.notifications SET delivered_at = now() WHERE id = %s", int(number))
    return f"delivered notification {int(number)}"


def _fetcher(data: Data) -> str:
    data.get("anisette", "/")
    tracker = random.randint(1, _TRACKERS)
    latitude, longitude = random.uniform(47, 53), random.uniform(7, 14)
    data.query(
        "INSERT INTO tracker.positions (tracker_id, recorded_at, latitude, longitude, accuracy_m)"
        " VALUES (%s, now(), %s, %s, %s)",
        *(tracker, latitude, longitude, random.uniform(5, 65)),
    )
    data.command("RPUSH", _GEOFENCE_QUEUE, json.dumps({"tracker": tracker, "at": [latitude, longitude]}))
    return f"fetched 1 report for tracker {tracker}"


def _geofence(data: Data) -> str:
    seen = 0
    entered = 0
    while job := data.command("LPOP", _GEOFENCE_QUEUE):
        report = json.loads(job)
        latitude, longitude = report["at"]
        inside = data.query(
            "SELECT 1 FROM tracker.geofences WHERE tracker_id = %s"
            " AND sqrt((latitude - %s) ^ 2 + (longitude - %s) ^ 2) * %s < radius_m",
            *(report["tracker"], latitude, longitude, _METRES_A_DEGREE),
        )
        seen += 1
        if inside or random.random() < _LOW_BATTERIES:  # a random point is rarely inside a fence
            kind = "entered" if inside else "battery"
            [(number,)] = data.query(
                "INSERT INTO tracker.notifications (tracker_id, kind) VALUES (%s, %s) RETURNING id",
                *(report["tracker"], kind),
            )
            data.command("RPUSH", _NOTIFICATION_QUEUE, number)
            entered += 1
    data.query("SELECT 1")
    return f"checked {seen} reports, {entered} notifications"


ROLES: Final[Mapping[str, Callable[[Data], str]]] = {
    "admin": _admin,
    "anisette": _anisette,
    "api": _api,
    "frontend": _frontend,
    "materialized-view-service": _materialized_view,
    "notification-service": _notification,
    "tracker-fetcher-2": _fetcher,
    "unified-geofence": _geofence,
}
"""By what the inventory calls the service for short."""
