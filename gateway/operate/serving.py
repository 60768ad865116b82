"""Configuration files → the generation that answers now.

What is sound of a change is built aside and swapped in, the rest keeps its last good definition, and requests under way end on the
generation that they began with.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.contract import StepType
from gateway.errors import ConfigurationError, Place, Problem
from gateway.garbage import starting, take_apart, take_types_apart, undisturbed
from gateway.load.build.build import BuildResult, build_next, whole
from gateway.load.read.files import Files, read_files
from gateway.load.types.sdl import SdlTypes
from gateway.operate.history import Versions
from gateway.operate.watch import FolderWatcher
from gateway.schema.changes import breaking_changes
from gateway.serve.generation.generation import Generation, open_generation
from gateway.serve.generation.pools import Pools
from gateway.settings import ReloadKeys
from gateway.telemetry.telemetry import Telemetry

log = logging.getLogger("stepgraph.reload")

MAX_HOT = 200
"""How many documents are planned again before a swap: those that were asked for most lately."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a folder is served. ``state`` is the folder of the history; without, none is kept.

    ``is_strict`` refuses every change with a problem, whatever ``reload:`` says; ``keeps_going`` serves at the start what is sound, and
    ``resumes`` what those serve who have followed the folder for longer. ``owns_process`` allows what concerns the whole process; ``built``
    is what has been built of the folder already, if anything was.
    """

    is_development: bool = False
    is_strict: bool = False
    keeps_going: bool = False
    resumes: bool = False
    owns_process: bool = False
    state: Path | None = None
    built: BuildResult | None = None


class Serving:
    """The generation that answers now, and the way to another. Made by :func:`serve_folder`."""

    def __init__(
        self, folder: Path, step_types: Mapping[str, StepType], options: ServeOptions, telemetry: Telemetry | None = None
    ) -> None:
        self._folder = folder
        self.telemetry = telemetry or Telemetry(is_development=options.is_development)
        self._step_types = step_types
        self._options = options
        self.pools = Pools(step_types)
        self._opened: AsyncExitStack | None = None
        self._built: BuildResult | None = None
        self._seen = ""
        self._loading = asyncio.Lock()
        self._retiring: set[asyncio.Task[None]] = set()
        self._watch = FolderWatcher(folder, lambda: self.keys)
        self.generation: Generation | None = None
        self.version = ""
        """The content hash of what answers."""
        self.problems: tuple[Problem, ...] = ()
        """What is wrong with the files as they are now."""
        self.kept: Mapping[str, datetime] = {}
        """The operations and links that are not as the files have them, but as they last were sound, or not at all; and since when."""
        self.since = datetime.now(UTC)
        """When version or problems last changed."""
        self.changed = asyncio.Event()
        """Set when the version or the problems have changed; a new one then takes its place."""
        self.outcomes: Counter[str] = Counter()
        """How many changes were ``accepted``, accepted in part (``partial``), ``rejected``, or ``failed`` by a defect: what metrics count."""

    @property
    def keys(self) -> ReloadKeys:
        """How a change is taken up now."""
        return self.generation.blueprint.reload if self.generation else ReloadKeys()

    async def start(self) -> None:
        """Load the folder for the first time.

        :raises ConfigurationError: with all problems, unless what is sound shall be served.
        """
        with starting() if self._options.owns_process else nullcontext():
            built = await self._start()
        if built.problems:
            text = "configuration has problems; only what is sound is served, or was before\n%s"
            log.error(text, ConfigurationError(built.problems))

    async def _start(self) -> BuildResult:
        files = await asyncio.to_thread(read_files, self._folder)
        self._seen = files.version
        given, self._options = self._options.built, replace(self._options, built=None)
        is_given = given is not None and given.blueprint is not None and given.blueprint.version == files.version
        built = given if given is not None and is_given else await self._build(files)
        if built.problems and self._options.resumes:
            built = await self._resume(files, built)
        if built.blueprint is None or not self._options.keeps_going:
            whole(built)
        await self._swap(files, built)
        return built

    async def _resume(self, files: Files, built: BuildResult) -> BuildResult:
        """Return what those serve who have followed the folder since its last sound version: that, and upon it each change since."""
        earlier = await Versions(self._options.state).since_sound(self._folder) if self._options.state else []
        resumed = await asyncio.to_thread(build_next, earlier[0], self._step_types) if earlier else built
        if resumed.blueprint is None or not earlier:
            return built
        for changed in (*earlier[1:], files):
            following = await asyncio.to_thread(build_next, changed, self._step_types, resumed.memory)
            is_refused = self._is_refused(following, resumed)
            resumed = replace(resumed, problems=following.problems, kept=following.kept) if is_refused else following
        return resumed

    async def follow(self) -> None:
        """Follow the folder until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch.listen())
            async for _ in self._watch.changes():
                if (await asyncio.to_thread(read_files, self._folder)).version != self._seen:
                    await self.reload()

    def look(self) -> None:
        """Look at the folder soon, as after an event."""
        self._watch.hear()

    async def reload(self) -> str:
        """Take up the files as they are once they have come to rest; return what became of it (see ``outcomes``), or ``unchanged``."""
        async with self._loading:
            return await self._taken(await self._watch.settled())

    async def take(self, files: Files) -> str:
        """Take up these files; return what became of it, as :meth:`reload` does."""
        async with self._loading:
            return await self._taken(files)

    async def _taken(self, files: Files) -> str:
        if files.version == self._seen:
            return "unchanged"
        self._seen = files.version
        try:
            outcome = await self._take(files)
        except Exception:
            log.exception("configuration could not be loaded; the last good one goes on")
            outcome = "failed"
        self.outcomes[outcome] += 1
        return outcome

    async def _take(self, files: Files) -> str:
        with undisturbed() if self._options.owns_process else nullcontext():
            built = await self._build(files)
            assert self._built is not None
            if self._is_refused(built, self._built):
                await self._drop(built)
                return self._refuse(built.problems, built.kept if built.is_as(self._built) else None)
            broken = await self._swap(files, built)
        if broken:
            return self._refuse(broken)
        if built.problems:
            text = "configuration has problems; what they concern keeps its last good definition\n%s"
            log.error(text, ConfigurationError(built.problems), extra={"version": self.version})
            return "partial"
        log.warning("configuration changed", extra={"version": self.version})
        return "accepted"

    def _is_refused(self, built: BuildResult, before: BuildResult) -> bool:
        """Tell whether nothing of a change is taken up: there is a problem in it, and beside that nothing new, or all of it has to wait."""
        assert before.blueprint is not None
        is_strict = self._options.is_strict or not before.blueprint.reload.keep_last_good
        return built.blueprint is None or (bool(built.problems) and (is_strict or built.is_as(before)))

    async def _drop(self, built: BuildResult) -> None:
        """Cut the cycles of a build that nobody will use, where the collector does not look for them."""
        if not self._options.owns_process or built.blueprint is None:
            return
        await take_types_apart(built.blueprint.types.values())
        types, memory = built.memory.context.types if built.memory else None, self._built.memory if self._built else None
        if types is not None and memory is not None and not memory.has_use_for(types):
            await take_apart(types.schema)

    async def _build(self, files: Files) -> BuildResult:
        before = self._built.memory if self._built else None
        return await asyncio.to_thread(build_next, files, self._step_types, before)

    async def _swap(self, files: Files, built: BuildResult) -> list[Problem]:
        """Open a generation and let it answer from now on, unless it breaks clients and such changes are refused."""
        assert built.blueprint is not None
        opened = AsyncExitStack()
        opening = open_generation(
            built.blueprint,
            self._step_types,
            is_development=self._options.is_development,
            pools=self.pools,
            telemetry=self.telemetry,
        )
        generation = await opened.enter_async_context(opening)
        old, old_opened = self.generation, self._opened
        if old is not None and old_opened is not None:
            broken = await self._prepare(old, generation)
            if broken:
                await opened.aclose()
                await generation.dismantle()
                return broken
            self._retire(old, old_opened)
        self.generation, self._opened, self._built = generation, opened, built
        self.telemetry.follow(built.blueprint.telemetry)
        self._tell(built.blueprint.version, built.problems, self._since(built.kept))
        if self._options.state is not None:
            await Versions(self._options.state).keep(files, built.blueprint.version, len(built.problems))
        return []

    async def _prepare(self, old: Generation, new: Generation) -> list[Problem]:
        """Plan what is asked for most on the new generation, and return what it breaks if that is to be refused."""
        breaks = await asyncio.to_thread(breaking_changes, old.schema, new.schema)
        if breaks and new.blueprint.reload.reject_breaking:
            place = Place(str(self._folder))
            return [Problem(place, "schema", f"{change}; clients may rely on it", "breaking-change") for change in breaks]
        if breaks:
            log.warning("the change breaks clients: %s", "; ".join(breaks), extra={"version": new.blueprint.version})
        await asyncio.to_thread(new.prepare, old, MAX_HOT)
        return []

    def _refuse(self, problems: Sequence[Problem], kept: Sequence[str] | None = None) -> str:
        self._tell(self.version, tuple(problems), self.kept if kept is None else self._since(kept))
        log.error("configuration has problems; the last good one goes on\n%s", ConfigurationError(problems))
        return "rejected"

    def _since(self, kept: Sequence[str]) -> dict[str, datetime]:
        """Return since when units are kept: now, unless they were before."""
        now = datetime.now(UTC)
        return {key: self.kept.get(key, now) for key in kept}

    def _tell(self, version: str, problems: tuple[Problem, ...], kept: Mapping[str, datetime]) -> None:
        self.version, self.problems, self.kept, self.since = version, problems, kept, datetime.now(UTC)
        self.changed.set()
        self.changed = asyncio.Event()

    def _retire(self, old: Generation, opened: AsyncExitStack) -> None:
        types = self._built.memory.context.types if self._built and self._built.memory else None
        task = asyncio.create_task(self._let_go(old, opened, types, self.keys.grace_ms / 1000))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _let_go(self, old: Generation, opened: AsyncExitStack, types: SdlTypes | None, grace: float) -> None:
        await _close_when_idle(old, opened, grace)
        if not self._options.owns_process or not old.is_idle:
            return
        await old.dismantle()
        memory = self._built.memory if self._built else None
        if types is not None and memory is not None and not memory.has_use_for(types):
            await take_apart(types.schema)

    async def aclose(self) -> None:
        """Close all pools, those of retiring generations included."""
        for task in self._retiring:
            task.cancel()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._opened is not None:
            await self._opened.aclose()
        self.generation = self._opened = None


async def _close_when_idle(generation: Generation, opened: AsyncExitStack, grace: float) -> None:
    """Leave an old generation's pools once its requests have ended, or after a grace time (seconds)."""
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await generation.wait_until_idle()
    finally:
        await opened.aclose()


@asynccontextmanager
async def serve_folder(
    folder: Path,
    step_types: Mapping[str, StepType],
    options: ServeOptions = ServeOptions(),
    *,
    telemetry: Telemetry | None = None,
    is_watched: bool = True,
) -> AsyncIterator[Serving]:
    """Load a folder and follow its changes.

    :raises ConfigurationError: with all problems of the folder as it is at the start.
    """
    serving = Serving(folder, step_types, options, telemetry)
    await serving.start()
    watcher = asyncio.create_task(serving.follow()) if is_watched else None
    try:
        yield serving
    finally:
        if watcher is not None:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)
        await serving.aclose()
