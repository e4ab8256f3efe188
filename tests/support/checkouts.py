"""A copy of what a clone holds, and a machine with nothing but a Python on it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from toolbox.launcher.image import repository_root

# What a machine needs to reach its registry; everything else of our own environment stays out.
PASSED_ON = re.compile(r"(PIP_|SSL_|REQUESTS_|CURL_|UV_).*|.*_proxy", re.IGNORECASE)
ONE_PACKAGE = re.compile(r"^annotated-doc==.*?(?=^\S)", re.MULTILINE | re.DOTALL)
PYTHON = Path(sys.executable).resolve()


class Checkout:
    """A copy of what a clone holds, an empty home, and a PATH with the system's tools and one Python."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "clone with blanks"
        self.tools = directory / "tools"
        self.home = directory / "home"
        for made in (self.tools, self.home):
            made.mkdir()
        root = repository_root()
        for name in ("scripts", "locks", "toolbox"):
            shutil.copytree(root / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Dockerfile", "entrypoint.sh", "task-definition.json"):
            shutil.copy(root / name, self.root / name)
        self.give("python3", f'exec "{PYTHON}" "$@"')
        # `python3.12` and the like of this machine must not be found: only what a test gives.
        for tool in (
            "bash",
            "sh",
            "env",
            "dirname",
            "readlink",
            "cksum",
            "cat",
            "rm",
            "mv",
            "chmod",
            "head",
            "flock",
            "ln",
        ):
            path = shutil.which(tool)
            assert path is not None
            (self.tools / tool).symlink_to(path)

    def small(self) -> "Checkout":
        """With a lock of a single package: what is tested is the set-up, not the network."""
        lock = self.root / "locks" / "runtime.txt"
        package = ONE_PACKAGE.search(lock.read_text(encoding="utf-8"))
        assert package is not None
        lock.write_text(package[0], encoding="utf-8")
        return self

    def give(self, name: str, script: str) -> None:
        path = self.tools / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def environment(self, **more: str) -> Mapping[str, str]:
        passed = {name: value for name, value in os.environ.items() if PASSED_ON.fullmatch(name)}
        return {**passed, "HOME": str(self.home), "PATH": str(self.tools), **more}

    def start(self, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.root / "scripts" / "toolbox", *words],
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
