"""Packing scripts/: the same bytes from the same content, and nothing that does not belong in a task."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from toolbox.errors import UsageError
from toolbox.launcher.mount import pack


def make(directory: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return directory


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    first = make(tmp_path / "a", {"x.sh": "1", "sub/y.py": "2"})
    second = make(tmp_path / "b", {"sub/y.py": "2", "x.sh": "1"})
    os.utime(second / "x.sh", (1, 1))
    assert pack(first).content == pack(second).content
    (second / "x.sh").chmod(0o755)
    assert pack(first).content != pack(second).content


def test_modes_and_contents_arrive(tmp_path: Path) -> None:
    directory = make(tmp_path, {"run.sh": "#!/bin/sh\n", "sub/data.txt": "é"})
    (directory / "run.sh").chmod(0o700)
    archive = pack(directory)
    with tarfile.open(fileobj=io.BytesIO(archive.content)) as tar:
        assert {entry.name: oct(entry.mode) for entry in tar if entry.isfile()} == {
            "run.sh": "0o755",
            "sub/data.txt": "0o644",
        }
        assert all(entry.uid == 0 and entry.mtime == 0 for entry in tar)
    assert archive.files == ("run.sh", "sub/data.txt")


def test_secrets_and_caches_stay_here(tmp_path: Path) -> None:
    directory = make(
        tmp_path,
        {".env": "S=1", ".env.production": "S=2", ".git/config": "x", "a/__pycache__/b.pyc": "x", "a/ok.py": "1"},
    )
    archive = pack(directory)
    assert archive.files == ("a/ok.py",)
    assert archive.left_out == (".env", ".env.production", ".git", "a/__pycache__")


def test_toolboxignore_is_obeyed(tmp_path: Path) -> None:
    ignore = "# large\n*.csv\nbuild/\n/top.txt\nsub/deep.txt\n"
    files = {"a.csv": "", "sub/b.csv": "", "build/x": "", "top.txt": "", "sub/top.txt": "", "sub/deep.txt": ""}
    archive = pack(make(tmp_path, {".toolboxignore": ignore, **files, "keep": "1", "sub/build": "a file"}))
    assert archive.files == ("keep", "sub/build", "sub/top.txt")


def test_links_inside_count_links_outside_do_not(tmp_path: Path) -> None:
    make(tmp_path, {"secret": "s"})
    directory = make(tmp_path / "scripts", {"real.sh": "1"})
    (directory / "alias.sh").symlink_to("real.sh")
    (directory / "out").symlink_to(tmp_path / "secret")
    (directory / "loop").symlink_to(directory)
    (directory / "dangling").symlink_to("nowhere")
    (directory / "there").symlink_to("back")
    (directory / "back").symlink_to("there")
    archive = pack(directory)
    assert archive.files == ("alias.sh", "real.sh")
    assert archive.left_out == ("back", "dangling", "loop", "out", "there")


def test_names_of_any_bytes_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / ".toolboxignore").write_bytes(b"# caf\xe9\n*\xe9\n")
    for name in (b"caf\xe9", b"th\xe9!"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    assert pack(tmp_path).files == (os.fsdecode(b"th\xe9!"),)


def test_a_link_to_a_secret_stays_here_whatever_its_name(tmp_path: Path) -> None:
    directory = make(tmp_path, {".env": "S=1", "run.sh": "1"})
    (directory / "settings").symlink_to(".env")
    assert pack(directory).files == ("run.sh",)


def test_a_fifo_does_not_hang_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert pack(tmp_path).left_out == ("pipe",)


def test_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no directory"):
        pack(tmp_path / "none")


@pytest.mark.parametrize("size", [64 * 1024 * 1024, 1 << 40])
def test_what_the_far_side_will_not_take_is_refused_without_reading_it(tmp_path: Path, size: int) -> None:
    """The archive is larger than what it holds, and a file may be larger than our memory."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(size)
    with pytest.raises(UsageError, match="more than 64 MiB"):
        pack(tmp_path)
