"""Watch a configuration folder: return its files each time that they have changed and settled.

A half-written file is never loaded (about a third of the prefixes of a YAML file are valid YAML with another meaning): a change counts once
two reads of the folder, ``settle_ms`` apart, are equal and no event arrived between them.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from watchfiles import Change, awatch

from gateway.load.read.files import Files, read_files
from gateway.settings import ReloadKeys

log = logging.getLogger("stepgraph.watch")

_IDENTITY_CHECK_MS = 500
"""Interval at which the folder's inode is compared: no event reports that the folder itself was replaced."""
_RETRY_SECONDS = 60.0
"""Seconds until another attempt to watch after the system refused one; the folder is only polled meanwhile."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
"""Seconds before something that has ended is begun anew; they double with each end, up to the longest."""
_STEADY_SECONDS = 60.0
"""Seconds after which something that has been begun anew counts as steady, and the next pause is the first again."""


def _is_relevant(_: Change, path: str) -> bool:
    """Tell whether a name can be a configuration file, a folder, or a symbolic link (Kubernetes swaps the link ``..data``)."""
    name = Path(path).name
    return name.endswith((".yaml", ".yml", ".graphql")) or "." not in name.lstrip(".")


async def keep_running(name: str, body: Callable[[], Awaitable[None]], on_end: Callable[[], None]) -> None:
    """Run what should never end, and begin it anew whenever it ends, with an exception of any kind or without one.

    Each end is logged at level error and reported to ``on_end``.

    :raises asyncio.CancelledError: the running task was cancelled; this alone ends it.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    pause = _FIRST_PAUSE
    while True:
        began, ended_with = loop.time(), None
        try:
            await body()
        # SystemExit too: the watch runs code that is not ours, and there would be no more changes without a word.
        except BaseException as error:
            if task is not None and task.cancelling():
                raise
            ended_with = error
        on_end()
        if loop.time() - began > _STEADY_SECONDS:
            pause = _FIRST_PAUSE
        log.error("%s has ended; it begins anew in %.1f s", name, pause, exc_info=ended_with)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


class FolderWatcher:
    """Watches a folder. ``keys`` returns the current intervals."""

    def __init__(self, folder: Path, keys: Callable[[], ReloadKeys]) -> None:
        self._folder = folder
        self._keys = keys
        self._changed = asyncio.Event()
        self._event_count = 0

    async def listen(self) -> None:
        """Receive change events until cancelled. A folder that is deleted, renamed or relinked is watched again once it is back."""
        while True:
            identity = await asyncio.to_thread(self._identity)
            if identity is None:
                await asyncio.sleep(_IDENTITY_CHECK_MS / 1000)
                continue
            # What changed before the watch started sent no event.
            self.note_change()
            try:
                await self._listen(identity)
            except OSError:  # the folder was removed since the check above
                await asyncio.sleep(_IDENTITY_CHECK_MS / 1000)
            except RuntimeError as error:  # watchfiles: this user's limit of watches (inotify) is reached
                log.warning("the folder cannot be watched; it is polled instead", extra={"detail": str(error)})
                await asyncio.sleep(_RETRY_SECONDS)

    async def _listen(self, identity: tuple[int, int]) -> None:
        # yield_on_timeout returns an empty set without events, so that the identity is checked in a quiet folder too.
        events = awatch(
            self._folder,
            watch_filter=_is_relevant,
            step=20,
            debounce=100,
            rust_timeout=_IDENTITY_CHECK_MS,
            yield_on_timeout=True,
        )
        async for changes in events:
            if changes:
                self.note_change()
            if await asyncio.to_thread(self._identity) != identity:
                return

    def note_change(self) -> None:
        """Record that something may have changed."""
        self._event_count += 1
        self._changed.set()

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self._folder.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    async def changes(self) -> AsyncIterator[None]:
        """Yield when something may have changed: at an event, and every ``poll_ms`` without one, as some file systems send no events."""
        while True:
            try:
                async with asyncio.timeout(self._keys().poll_ms / 1000):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            yield

    async def read_settled(self) -> Files:
        """Return the files once two reads are equal and no event arrived between them."""
        while True:
            event_count = self._event_count
            files = await asyncio.to_thread(read_files, self._folder)
            await asyncio.sleep(self._keys().settle_ms / 1000)
            again = await asyncio.to_thread(read_files, self._folder)
            if again.version == files.version and self._event_count == event_count:
                return again
