"""Files of an earlier version → the configuration folder, so that what is there is what is served."""

import os
from pathlib import Path

from gateway.load.read.files import Files


class ForeignFolder(Exception):
    """The folder is not for us to write; the message says why."""


def write_back(files: Files, present: Files) -> list[str]:
    """Make a folder's configuration files those of a version; return the names of what was written or deleted.

    ``present`` are those that are there. All are written beside their places first, and then take them in one go, faster than a gateway that
    follows the folder lets a change settle.

    :raises ForeignFolder: some of them are links: another program puts them there, and would put them there again.
    """
    links = [name for name in present.texts if _is_linked(Path(name), files.folder)]
    if links:
        message = f"'{links[0]}' is a link, so another program (Kubernetes, say) keeps the files here; roll back where it takes them from"
        raise ForeignFolder(message)
    changed = {name: text for name, text in files.texts.items() if present.texts.get(name) != text}
    beside = {name: Path(name).with_name(f".{Path(name).name}.rollback") for name in changed}
    for name, path in beside.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed[name], "utf-8")
    for name, path in beside.items():
        path.rename(name)
    gone = [name for name in present.texts if name not in files.texts]
    for name in gone:
        Path(name).unlink()
    return [os.path.relpath(name, files.folder) for name in (*changed, *gone)]


def _is_linked(path: Path, folder: Path) -> bool:
    """Tell whether a file, or a folder on the way to it, is a link."""
    return any(part.is_symlink() for part in (path, *path.parents) if folder in part.parents)
