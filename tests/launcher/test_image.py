"""The image's tag follows what the image is made of, and nothing else."""

import shutil
from pathlib import Path

from toolbox.launcher.image import content_tag, repository_root


def checkout(directory: Path) -> Path:
    root = repository_root()
    directory.mkdir()
    for name in ("Dockerfile", "entrypoint.sh"):
        shutil.copy(root / name, directory)
    for name in ("toolbox", "locks"):
        shutil.copytree(root / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


def test_follows_the_content(tmp_path: Path) -> None:
    copy = checkout(tmp_path / "copy")
    before = content_tag(copy)
    assert before == content_tag(repository_root())
    (copy / "toolbox" / "lab" / "new.py").write_text("x = 1\n", encoding="utf-8")
    (copy / "README.md").write_text("read me\n", encoding="utf-8")
    (copy / "toolbox" / "__pycache__").mkdir()
    (copy / "toolbox" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert content_tag(copy) == before
    (copy / "toolbox" / "errors.py").write_text("x = 1\n", encoding="utf-8")
    changed = content_tag(copy)
    (copy / "entrypoint.sh").chmod(0o644)
    assert len({before, changed, content_tag(copy)}) == 3
