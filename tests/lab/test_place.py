"""Who owns a lab's directory, when several come and go at once."""

import threading
from collections.abc import Callable
from pathlib import Path

from toolbox.lab.place import Place

_TURNS = 100


def _place(directory: Path) -> Place:
    return Place("one", directory / "toolbox" / "labs" / "one")


def _all_at_once(*works: Callable[[], None]) -> None:
    """Run them in threads of their own, and fail as the first that failed."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_somebody_who_only_looks_takes_the_lock_from_nobody(tmp_path: Path) -> None:
    place = _place(tmp_path)
    place.make()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            place.is_alive()

    def lock() -> None:
        try:
            for _ in range(_TURNS):
                file = place.lock()
                assert file is not None
                file.close()
        finally:
            over.set()

    _all_at_once(look, look, lock)


def test_a_lab_that_lives_is_not_removed(tmp_path: Path) -> None:
    place = _place(tmp_path)
    lock = place.lock()
    assert lock is not None
    with lock:
        assert not place.remove()
        assert place.is_alive()
        assert place.lock() is None
    assert place.remove()
    assert not list(tmp_path.iterdir())


def test_one_at_a_time_owns_the_directory_however_fast_they_come_and_go(tmp_path: Path) -> None:
    place = _place(tmp_path)
    owners = threading.Semaphore(1)

    def come_and_go() -> None:
        for _ in range(_TURNS):
            lock = place.lock()
            if lock is None:
                place.remove()
                continue
            with lock:
                assert owners.acquire(blocking=False), "two owners at once"
                place.description.write_text("mine")
                assert place.description.read_text() == "mine"
                assert place.clear()
                owners.release()
                place.discard(lock)

    _all_at_once(come_and_go, come_and_go, come_and_go)
    assert place.remove()
    assert not list(tmp_path.iterdir())


def test_what_was_deleted_by_hand_is_not_ours_any_more(tmp_path: Path) -> None:
    place = _place(tmp_path)
    old = place.lock()
    assert old is not None
    place.directory.rename(tmp_path / "elsewhere")
    new = place.lock()
    assert new is not None
    with old, new:
        assert not place.holds(old)
        assert place.holds(new)
        place.discard(old)
        assert place.holds(new), "the directory of the next lab was removed"


def test_what_a_killed_removal_has_left_goes_with_the_next(tmp_path: Path) -> None:
    place = _place(tmp_path)
    (place.directory.parent / ".one.12ab").mkdir(parents=True)
    (place.directory.parent / "another").mkdir()
    assert place.remove()
    assert [path.name for path in place.directory.parent.iterdir()] == ["another"]
