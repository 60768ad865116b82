"""Configuration files → the generation that answers now. A sound change is swapped in, a bad one leaves the last good one serving.

A half-written file is never taken: a change counts once two readings of the folder, some time apart, are equal.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from watchfiles import awatch

from gateway.config.rules import build
from gateway.config.source import Files, read_files
from gateway.errors import ConfigurationError, Problem
from gateway.generation import Generation, open_generation
from gateway.resolver import StepType

log = logging.getLogger("stepgraph.reload")

SETTLE = 0.2
"""Seconds between two equal readings before a change is taken."""
POLL_MS = 3000
GRACE = 30.0
"""Seconds that requests on an old generation have to finish."""


class Serving:
    """The generation that answers now, and the way to another. Made by :func:`serve_folder`."""

    def __init__(self, folder: Path, step_types: Mapping[str, StepType], *, is_development: bool) -> None:
        self._folder = folder
        self._step_types = step_types
        self._is_development = is_development
        self._pools: AsyncExitStack | None = None
        self._seen = ""
        self._retiring: set[asyncio.Task[None]] = set()
        self.generation: Generation | None = None
        self.version = ""
        """The content hash of the files that answer."""
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the files as they are now, while older ones answer."""
        self.changed = asyncio.Event()
        """Set when the version or the problems have changed; a new one then takes its place."""

    async def load(self, files: Files) -> None:
        """Build a generation of these files and let it answer from now on.

        :raises ConfigurationError: the files are not sound; what answered before goes on.
        """
        self._seen = files.version
        blueprint = await asyncio.to_thread(build, files, self._step_types)
        pools = AsyncExitStack()
        generation = await pools.enter_async_context(
            open_generation(blueprint, self._step_types, is_development=self._is_development)
        )
        old, old_pools = self.generation, self._pools
        self.generation, self._pools = generation, pools
        self._tell(files.version, ())
        if old is not None and old_pools is not None:
            task = asyncio.create_task(_retire(old, old_pools))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _tell(self, version: str, problems: tuple[Problem, ...]) -> None:
        self.version, self.problems = version, problems
        self.changed.set()
        self.changed = asyncio.Event()

    async def watch(self) -> None:
        """Follow the folder until cancelled."""
        # Every few seconds it looks without an event as well: some file systems send none, and one may come before the watch begins.
        async for _ in awatch(self._folder, step=50, debounce=400, rust_timeout=POLL_MS, yield_on_timeout=True):
            if (await asyncio.to_thread(read_files, self._folder)).version == self._seen:
                continue
            files = await self._settled()
            try:
                await self.load(files)
                log.warning("configuration changed", extra={"version": files.version})
            except ConfigurationError as error:
                self._tell(self.version, error.problems)
                log.error("configuration has problems; the last good one goes on\n%s", error)  # noqa: TRY400 - no trace is wanted
            except Exception:
                log.exception("configuration could not be loaded; the last good one goes on")

    async def _settled(self) -> Files:
        """Return the files once two readings are equal."""
        files = await asyncio.to_thread(read_files, self._folder)
        while True:
            await asyncio.sleep(SETTLE)
            again = await asyncio.to_thread(read_files, self._folder)
            if again.version == files.version:
                return again
            files = again

    async def aclose(self) -> None:
        """Close all pools, those of retiring generations included."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._pools is not None:
            await self._pools.aclose()
        self.generation = self._pools = None


async def _retire(generation: Generation, pools: AsyncExitStack) -> None:
    """Close an old generation's pools once its requests have ended, or after a grace time."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await generation.wait_until_idle()
    finally:
        await pools.aclose()


@asynccontextmanager
async def serve_folder(
    folder: Path, step_types: Mapping[str, StepType], *, is_development: bool = False, is_watched: bool = True
) -> AsyncIterator[Serving]:
    """Load a folder and follow its changes.

    :raises ConfigurationError: with all problems of the folder as it is at the start.
    """
    serving = Serving(folder, step_types, is_development=is_development)
    await serving.load(await asyncio.to_thread(read_files, folder))
    watcher = asyncio.create_task(serving.watch()) if is_watched else None
    try:
        yield serving
    finally:
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await serving.aclose()
