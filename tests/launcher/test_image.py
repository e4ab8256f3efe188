"""The image's tag follows what the image is made of, and nothing else."""

import re
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


def test_follows_everything_that_the_image_copies(tmp_path: Path) -> None:
    copy = checkout(tmp_path / "copy")
    copied = re.findall(r"^COPY ([^-]\S*) \S+$", (copy / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    ignore = (repository_root() / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert set(copied) == {line[1:] for line in ignore if line.startswith("!")} - {"Dockerfile"}
    tags = {content_tag(copy)}
    for name in copied:
        path = copy / name
        with (path / "new.py" if path.is_dir() else path).open("a", encoding="utf-8") as file:
            file.write("# changed\n")
        tags.add(content_tag(copy))
    assert len(tags) == 1 + len(copied) == 4


def test_the_image_has_the_models_of_every_service_that_the_toolbox_calls() -> None:
    root = repository_root()
    kept = re.search(r'^ARG AWS_SERVICES="([^"]+)"', (root / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert kept is not None
    sources = [path for path in (root / "toolbox").rglob("*.py") if "lab" not in path.relative_to(root).parts]
    call = re.compile(r'(?:aws|self)\.(?:call|call_now|listed)\(\s*"([a-z0-9-]+)"')
    called = {name for path in sources for name in call.findall(path.read_text(encoding="utf-8"))}
    assert {"ecs", "ecr", "sts"} <= called <= set(kept[1].replace("\\\n", "").split())
