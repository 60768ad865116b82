"""A configuration folder → the texts of its files, and a hash of all of them."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import Place, Problem

MAX_FILE_BYTES = 10_000_000
TEST_FILES = (".test.yaml", ".test.yml")


@dataclass(frozen=True, slots=True)
class Files:
    """The texts of a configuration folder by path, as messages show it. ``version`` is a hash of names and contents."""

    folder: Path
    texts: Mapping[str, str]
    problems: tuple[Problem, ...]
    version: str


def read_files(folder: Path) -> Files:
    """Read every ``*.yaml``, ``*.yml`` and ``*.graphql`` below a folder, in order of path.

    Names that begin with a dot are skipped, and so are config tests (``*.test.yaml``).
    """
    texts: dict[str, str] = {}
    problems: list[Problem] = []
    digest = hashlib.sha256()
    if not folder.is_dir():
        message = f"{'is a file' if folder.exists() else 'no such folder here'}; give the folder of your configuration files"
        problems.append(Problem(Place(str(folder)), "folder", message, "no-folder"))
    for path in sorted(_configuration_files(folder, problems)):
        read = read_file(path)
        if isinstance(read, Problem):
            problems.append(read)
        else:
            data, texts[str(path)] = read
            # Null bytes keep names and contents apart: moving text from one to the other changes the hash.
            digest.update(os.fsencode(path.relative_to(folder)) + b"\0" + data + b"\0")
    return Files(folder, texts, tuple(problems), digest.hexdigest()[:16])


def files_as_read(folder: Path, texts: Mapping[str, str]) -> Files:
    """Return what :func:`read_files` would return for a folder with these texts (by relative path)."""
    digest = hashlib.sha256()
    for name in sorted(texts, key=Path):
        digest.update(os.fsencode(name) + b"\0" + texts[name].encode() + b"\0")
    return Files(folder, {str(folder / name): text for name, text in texts.items()}, (), digest.hexdigest()[:16])


def read_file(path: Path) -> tuple[bytes, str] | Problem:
    """Return the content of a file as bytes and as text, or the problem of reading it."""
    name = str(path)
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            if not stat.S_ISREG(
                os.fstat(file.fileno()).st_mode
            ):  # it has taken the place of a regular file since the folder was listed
                return Problem(Place(name), "file", "is no regular file", "unreadable-file")
            data = file.read(MAX_FILE_BYTES + 1)  # one byte more tells that the file is too large, without reading all of it
        if len(data) > MAX_FILE_BYTES:
            return Problem(Place(name), "file", "larger than 10 MB; split it", "file-too-large")
        return data, data.decode("utf-8-sig")
    except OSError as error:
        return _unreadable(name, "file", error)
    except UnicodeDecodeError as error:
        return Problem(_place_of(error, name), "file", "is not UTF-8; save it as UTF-8", "not-utf8")


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a pipe too, from which nobody would write, is opened at once."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has neither the flag nor such pipes


def _place_of(error: UnicodeDecodeError, file: str) -> Place:
    """Return the place of the first byte that is not UTF-8."""
    before = error.object[: error.start].decode("utf-8-sig")
    return Place(file, before.count("\n") + 1, len(before) - before.rfind("\n"))


def _unreadable(name: str, subject: str, error: OSError) -> Problem:
    """Return the problem of a file or folder (``subject``) that the operating system cannot read."""
    return Problem(Place(name), subject, f"cannot be read: {error.strerror}", "unreadable-file")


def _configuration_files(folder: Path, problems: list[Problem]) -> Iterator[Path]:
    """Yield the configuration files below a folder. Symbolic links are followed; anything but regular files is skipped.

    Folders that cannot be read are added to ``problems``.
    """
    seen: set[tuple[int, int]] = set()

    def report(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # deleted meanwhile, or a missing folder, which is reported already
            problems.append(_unreadable(str(error.filename), "folder", error))

    for root, folders, names in os.walk(folder, followlinks=True, onerror=report):
        try:
            status = Path(root).stat()
        except OSError as error:
            report(error)
            continue
        if (status.st_dev, status.st_ino) in seen:
            # A symbolic link leads to a folder that was visited, perhaps one of its own parents: do not descend again.
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(root, name)
            is_configuration = name.endswith((".yaml", ".yml", ".graphql")) and not name.endswith(TEST_FILES)
            if is_configuration and not name.startswith(".") and not _is_special(path):
                yield path


def _is_special(path: Path) -> bool:
    """Tell whether a path is a pipe or a device, from which reading might never end. A missing file is reported when it is read."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
