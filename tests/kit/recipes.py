"""A recipe of CONTRIBUTING.md, applied to a copy of the code: which files it touches, and what a gateway with it does.

An edit is text put after a line that is there once, so that a recipe fails where the code has moved on from it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.kit.paths import CHECKOUT

PACKAGES = ("gateway", "resolvers")
TIMEOUT = 120.0
"""Seconds for a command of the copy, which has to be compiled first; it takes two, but the machine may be busy."""


class CodeCopy:
    """The code, copied to a folder in which it is edited and run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in PACKAGES:
            shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, file: str, text: str, *, after: str = "") -> None:
        """Put text behind the one place where ``after`` stands in a file; without ``after`` make the file."""
        path = self.folder / file
        if not after:
            assert not path.exists(), f"{file} is there already"
            path.write_text(text, "utf-8")
            return
        before = path.read_text("utf-8")
        assert before.count(after) == 1, f"{file} has {before.count(after)} times {after!r}"
        path.write_text(before.replace(after, after + text), "utf-8")

    def touched(self) -> set[str]:
        """Return the files that differ from those of the checkout."""
        own, others = _sources(self.folder), _sources(CHECKOUT)
        return {file for file in own.keys() | others.keys() if own.get(file) != others.get(file)}

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of the gateway that the copy is, from the folder of the copy."""
        return self._python("-m", "gateway", *arguments)

    def python(self, code: str) -> str:
        """Run Python code with the packages of the copy; return what it prints."""
        done = self._python("-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
        )


def _sources(root: Path) -> dict[str, bytes]:
    paths = (path for package in PACKAGES for path in (root / package).rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}
