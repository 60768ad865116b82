"""Write texts by file name into a folder. Existing files are replaced only on request."""

from collections.abc import Mapping
from pathlib import Path

from gateway.develop.importing.result import ImportFault


def write_folder(folder: Path, files: Mapping[str, str], *, may_replace: bool) -> list[Path]:
    """Write all files and return their paths. If one exists and may not be replaced, write none.

    :raises ImportFault: a file exists and may not be replaced, or the folder cannot be written to.
    """
    paths = [folder / name for name in files]
    existing = [path for path in paths if path.exists()]
    if existing and not may_replace:
        names = ", ".join(path.name for path in existing[:5]) + (", …" if len(existing) > 5 else "")
        message = f"{folder} has {names} already; replace with --force, or choose another folder with --into"
        raise ImportFault(message)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in zip(paths, files.values(), strict=True):
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ImportFault(f"{error.filename or folder} cannot be written: {error.strerror}") from None
    return paths
