"""A path → what tells one file from another that has taken its place."""

from pathlib import Path


def version_of(path: Path) -> tuple[int, ...]:
    """Return what changes when another file takes a path, or when a file is written; nothing for a path without a file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)
