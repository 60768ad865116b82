"""A folder → its files, each time that they have changed and come to rest.

A half-written file is never taken (about a third of the beginnings of a YAML file are YAML themselves, with another meaning): a change
counts once two readings of the folder, some time apart, are equal, and nothing was heard of the folder between them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from watchfiles import Change, awatch

from gateway.load.read.files import Files, read_files
from gateway.settings import ReloadKeys

log = logging.getLogger("stepgraph.watch")

_LOOK_MS = 500
"""How often it is asked whether the folder is still the same one: nothing tells of that."""
_DEAF_SECONDS = 60.0
"""After which time it is tried again to hear of changes where the system did not allow it; the folder is only looked at meanwhile."""


def _matters(_: Change, path: str) -> bool:
    """Tell whether a name is one of a configuration file, or of a folder or a link (Kubernetes puts ``..data`` in the place of another)."""
    name = Path(path).name
    return name.endswith((".yaml", ".yml", ".graphql")) or "." not in name.lstrip(".")


class FolderWatcher:
    """Follows a folder. ``keys`` gives the times that hold now."""

    def __init__(self, folder: Path, keys: Callable[[], ReloadKeys]) -> None:
        self._folder = folder
        self._keys = keys
        self._heard = asyncio.Event()
        self._events = 0

    async def listen(self) -> None:
        """Hear of changes until cancelled; a folder that is deleted, renamed or linked anew is found again."""
        while True:
            identity = await asyncio.to_thread(self._identity)
            if identity is None:
                await asyncio.sleep(_LOOK_MS / 1000)
                continue
            self.hear()
            try:
                await self._listen(identity)
            except OSError:  # it went away just now
                await asyncio.sleep(_LOOK_MS / 1000)
            except RuntimeError as error:  # the processes of this user watch as many folders as they may
                log.warning("changes of the folder are not told; it is only looked at", extra={"detail": str(error)})
                await asyncio.sleep(_DEAF_SECONDS)

    async def _listen(self, identity: tuple[int, int]) -> None:
        events = awatch(self._folder, watch_filter=_matters, step=20, debounce=100, rust_timeout=_LOOK_MS, yield_on_timeout=True)
        async for changes in events:
            if changes:
                self.hear()
            if await asyncio.to_thread(self._identity) != identity:
                return

    def hear(self) -> None:
        """Take note that something may have changed."""
        self._events += 1
        self._heard.set()

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._folder.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    async def changes(self) -> AsyncIterator[None]:
        """Yield when something may have changed: at an event, and without one every few seconds, as some file systems send none."""
        while True:
            try:
                async with asyncio.timeout(self._keys().poll_ms / 1000):
                    await self._heard.wait()
            except TimeoutError:
                pass
            self._heard.clear()
            yield

    async def settled(self) -> Files:
        """Return the files once they have come to rest."""
        while True:
            events = self._events
            files = await asyncio.to_thread(read_files, self._folder)
            await asyncio.sleep(self._keys().settle_ms / 1000)
            again = await asyncio.to_thread(read_files, self._folder)
            if again.version == files.version and self._events == events:
                return again
