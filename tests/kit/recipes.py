"""Applies a recipe of CONTRIBUTING.md to a copy of the code, runs the copy, and tells which files the recipe touched.

An edit inserts text after an anchor that must occur exactly once, so that a recipe fails when the code no longer fits it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.kit.paths import CHECKOUT

PACKAGES = ("gateway", "resolvers")
TIMEOUT = 120.0
"""Seconds for a command of the copy. It takes about two, as the copy is compiled first; the machine may be busy."""


class CodeCopy:
    """A copy of the packages in a folder, to be edited and run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for package in PACKAGES:
            shutil.copytree(CHECKOUT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))

    def add(self, file: str, text: str, *, after: str = "") -> None:
        """Insert text after the only occurrence of ``after`` in a file. Without ``after`` create the file."""
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
        """Run a command of the copied gateway, with the folder of the copy as working directory."""
        return self._python("-m", "gateway", *arguments)

    def python(self, code: str) -> str:
        """Run Python code with the packages of the copy and return its output."""
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
