-- The tracker's database as the lab knows it: some thousand rows, the same on every start.
-- Runs once, as tracker_owner, in the database tracker.

SELECT setseed(0.42);

CREATE SCHEMA tracker;

CREATE TABLE tracker.trackers (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    serial      text NOT NULL UNIQUE,
    name        text NOT NULL,
    active      boolean NOT NULL DEFAULT true,
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tracker.positions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tracker_id   integer NOT NULL REFERENCES tracker.trackers,
    recorded_at  timestamptz NOT NULL,
    latitude     double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude    double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    accuracy_m   real NOT NULL
);

CREATE TABLE tracker.geofences (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tracker_id  integer NOT NULL REFERENCES tracker.trackers,
    name        text NOT NULL,
    latitude    double precision NOT NULL,
    longitude   double precision NOT NULL,
    radius_m    real NOT NULL CHECK (radius_m > 0)
);

CREATE TABLE tracker.notifications (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tracker_id    integer NOT NULL REFERENCES tracker.trackers,
    kind          text NOT NULL CHECK (kind IN ('entered', 'left', 'battery')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    delivered_at  timestamptz
);

INSERT INTO tracker.trackers (serial, name, created_at)
SELECT 'T-' || lpad(n::text, 5, '0'), 'Tracker ' || n, now() - n * interval '1 day'
FROM generate_series(1, 200) AS n;

INSERT INTO tracker.positions (tracker_id, recorded_at, latitude, longitude, accuracy_m)
SELECT id, now() - n * interval '10 minutes', 47 + 6 * random(), 7 + 7 * random(), 5 + 60 * random()
FROM tracker.trackers, generate_series(0, 24) AS n;

INSERT INTO tracker.geofences (tracker_id, name, latitude, longitude, radius_m)
SELECT id, 'Fence ' || n, 47 + 6 * random(), 7 + 7 * random(), 100 + 900 * random()
FROM tracker.trackers, generate_series(1, 2) AS n;

INSERT INTO tracker.notifications (tracker_id, kind, created_at, delivered_at)
SELECT id, (ARRAY['entered', 'left', 'battery'])[1 + n % 3], now() - n * interval '1 hour', now() - n * interval '1 hour'
FROM tracker.trackers, generate_series(1, 10) AS n;

CREATE INDEX ON tracker.positions (tracker_id, recorded_at DESC);
CREATE INDEX ON tracker.notifications (created_at) WHERE delivered_at IS NULL;

CREATE MATERIALIZED VIEW tracker.latest_positions AS
SELECT DISTINCT ON (tracker_id) tracker_id, recorded_at, latitude, longitude, accuracy_m
FROM tracker.positions
ORDER BY tracker_id, recorded_at DESC;

-- What REFRESH MATERIALIZED VIEW CONCURRENTLY asks for.
CREATE UNIQUE INDEX ON tracker.latest_positions (tracker_id);

GRANT USAGE ON SCHEMA tracker TO tracker_app, tracker_probe;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tracker TO tracker_app;
GRANT SELECT ON ALL TABLES IN SCHEMA tracker TO tracker_probe;

ANALYZE;
