"""Write the files of an earlier version back into the configuration folder, so that the folder has what is served."""

import os
from pathlib import Path

from gateway.load.read.files import Files


class ForeignFolder(Exception):
    """Another program manages the folder, so it must not be written to; the message says why."""


def write_back(files: Files, present: Files) -> list[str]:
    """Replace a folder's configuration files by those of a version; return the names of the files written or deleted.

    ``present`` are the files that the folder has now. New contents are written to temporary files first, then all are renamed in one go,
    within the time that a gateway that watches the folder waits for a change to settle.

    :raises ForeignFolder: some files are symbolic links: another program writes them, and would overwrite the rollback.
    """
    links = [name for name in present.texts if _is_linked(Path(name), files.folder)]
    if links:
        message = f"'{links[0]}' is a link, so another program (Kubernetes, say) keeps the files here; roll back where it takes them from"
        raise ForeignFolder(message)
    changed = {name: text for name, text in files.texts.items() if present.texts.get(name) != text}
    # The leading dot hides them from a gateway that reads the folder; in the same directory, so that the rename is atomic.
    temporary = {name: Path(name).with_name(f".{Path(name).name}.rollback") for name in changed}
    for name, path in temporary.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed[name], "utf-8")
    for name, path in temporary.items():
        path.rename(name)
    deleted = [name for name in present.texts if name not in files.texts]
    for name in deleted:
        Path(name).unlink()
    return [os.path.relpath(name, files.folder) for name in (*changed, *deleted)]


def _is_linked(path: Path, folder: Path) -> bool:
    """Tell whether a file, or a folder between it and the configuration folder, is a symbolic link."""
    return any(part.is_symlink() for part in (path, *path.parents) if folder in part.parents)
