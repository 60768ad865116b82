"""Configuration files → the active generation.

The valid parts of a change are built in a thread and swapped in, the rest keeps its last good definition, and requests in flight end on
the generation that they started with.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.contract import StepType
from gateway.errors import ConfigurationError, Place, Problem
from gateway.garbage import clear_schema, clear_types, startup_without_gc, without_full_collections
from gateway.load.build.build import BuildResult, build_next, require_blueprint
from gateway.load.read.files import Files, read_files
from gateway.load.types.sdl import SdlTypes
from gateway.operate.history import Versions
from gateway.operate.watch import FolderWatcher, keep_running
from gateway.schema.changes import breaking_changes
from gateway.serve.generation.generation import Generation, open_generation
from gateway.serve.generation.pools import CLOSE_SECONDS, Pools
from gateway.settings import ReloadKeys
from gateway.telemetry.telemetry import Telemetry

log = logging.getLogger("stepgraph.reload")

MAX_WARM_PLANS = 200
"""How many plans are made on a new generation before the swap: those of the documents that were requested most often of late."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a folder is served. ``state`` is the folder of the history; without it no history is kept.

    ``is_strict`` rejects every change with a problem, whatever ``reload:`` says. ``keeps_going`` starts with the valid parts of a
    configuration that has problems. ``resumes`` starts with what workers that run for longer serve, from the history. ``owns_process`` allows
    process-wide settings (garbage collector, signals). ``built`` is a build of the folder that exists already, if any. ``host`` is the one
    that the server listens on, if known.
    """

    is_development: bool = False
    is_strict: bool = False
    keeps_going: bool = False
    resumes: bool = False
    owns_process: bool = False
    state: Path | None = None
    built: BuildResult | None = None
    host: str | None = None


class Serving:
    """Holds the active generation of a folder and replaces it when the files change. Created by :func:`serve_folder`."""

    def __init__(
        self, folder: Path, step_types: Mapping[str, StepType], options: ServeOptions, telemetry: Telemetry | None = None
    ) -> None:
        self._folder = folder
        self.telemetry = telemetry or Telemetry(is_development=options.is_development)
        self._step_types = step_types
        self._options = options
        self.pools = Pools(step_types)
        self._resources: AsyncExitStack | None = None
        self._built: BuildResult | None = None
        self._seen_version = ""
        self._loading = asyncio.Lock()
        self._retiring: dict[asyncio.Task[None], Generation] = {}
        self._is_closing = asyncio.Event()
        self._watch = FolderWatcher(folder, lambda: self.keys)
        self.generation: Generation | None = None
        self.version = ""
        """The content hash of the active generation."""
        self.problems: tuple[Problem, ...] = ()
        """The problems of the current files."""
        self.kept: Mapping[str, datetime] = {}
        """Operations and links whose definition in the files is invalid → since when. They keep their last valid one or are left out."""
        self.since = datetime.now(UTC)
        """When version or problems last changed."""
        self.changed = asyncio.Event()
        """Set when the version or the problems have changed. Each event is used once: a new one replaces it."""
        self.watch_restarts = 0
        """How often watching or checking the folder has ended, and was begun anew."""
        self.outcomes: Counter[str] = Counter()
        """Number of changes for the metrics: ``accepted``, ``partial`` (the valid parts), ``rejected``, or ``failed`` by a defect."""

    @property
    def keys(self) -> ReloadKeys:
        """The current settings of reloads."""
        return self.generation.blueprint.reload if self.generation else ReloadKeys()

    async def start(self) -> None:
        """Load the folder for the first time.

        :raises ConfigurationError: with all problems, unless ``keeps_going`` is set and some parts are valid.
        """
        with startup_without_gc() if self._options.owns_process else nullcontext():
            built = await self._start()
        if built.problems:
            text = "configuration has problems; only its valid parts are served, or their last good definition\n%s"
            log.error(text, ConfigurationError(built.problems))

    async def _start(self) -> BuildResult:
        files = await asyncio.to_thread(read_files, self._folder)
        self._seen_version = files.version
        given, self._options = self._options.built, replace(self._options, built=None)
        # The files may have changed since the given build.
        is_current = given is not None and given.blueprint is not None and given.blueprint.version == files.version
        built = given if given is not None and is_current else await self._build(files)
        if built.problems and self._options.resumes:
            built = await self._resume(files, built)
        if built.blueprint is None or not self._options.keeps_going:
            require_blueprint(built)
        await self._swap(files, built)
        return built

    async def _resume(self, files: Files, built: BuildResult) -> BuildResult:
        """Return what the other workers serve: the last version without problems, with each later change applied as they applied it.

        A worker that replaces a dead one would otherwise lack the definitions that the others keep, as the files have them no more.
        """
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
        """Reload at each change of the folder until cancelled, whatever else happens."""
        async with asyncio.TaskGroup() as group:
            # Apart from each other: while there are no events the folder is still polled, and SIGHUP heard.
            for name, body in (
                ("the watch of the folder", self._watch.listen),
                ("the check of the folder", self._reload_changes),
            ):
                group.create_task(keep_running(name, body, self._count_restart))

    async def _reload_changes(self) -> None:
        async for _ in self._watch.changes():
            # One read decides whether to reload at all: a poll without a change does not wait for the files to settle.
            if (await asyncio.to_thread(read_files, self._folder)).version != self._seen_version:
                await self.reload()

    def _count_restart(self) -> None:
        self.watch_restarts += 1
        self._watch.note_change()  # the change that was being looked at may be lost

    def check_soon(self) -> None:
        """Check the folder for changes soon, as after a change event."""
        self._watch.note_change()

    async def reload(self) -> str:
        """Load the files once they have settled; return the outcome (a key of ``outcomes``), or ``unchanged``."""
        async with self._loading:
            return await self._apply(await self._watch.read_settled())

    async def apply(self, files: Files) -> str:
        """Load these files; return the outcome as :meth:`reload` does."""
        async with self._loading:
            return await self._apply(files)

    async def _apply(self, files: Files) -> str:
        if files.version == self._seen_version:
            return "unchanged"
        # Set before the attempt: files that fail are not tried again at every poll.
        self._seen_version = files.version
        try:
            outcome = await self._build_and_swap(files)
        except (Exception, SystemExit, KeyboardInterrupt):
            # A defect, for example in a step type, or `sys.exit()` in a Python module, must not end the watch or the process.
            log.exception("configuration could not be loaded; the last good one stays active")
            outcome = "failed"
        self.outcomes[outcome] += 1
        return outcome

    async def _build_and_swap(self, files: Files) -> str:
        with without_full_collections() if self._options.owns_process else nullcontext():
            built = await self._build(files)
            assert self._built is not None
            if self._is_refused(built, self._built):
                await self._discard(built)
                return self._reject(built.problems, built.kept if built.serves_same_as(self._built) else None)
            breaking = await self._swap(files, built)
        if breaking:
            return self._reject(breaking)
        if built.problems:
            text = "configuration has problems; the parts concerned keep their last good definition\n%s"
            log.error(text, ConfigurationError(built.problems), extra={"version": self.version})
            return "partial"
        log.warning("configuration changed", extra={"version": self.version})
        return "accepted"

    def _is_refused(self, built: BuildResult, before: BuildResult) -> bool:
        """Tell whether a change is rejected as a whole: it has a problem, and nothing else has changed or partial changes are not allowed."""
        assert before.blueprint is not None
        is_strict = self._options.is_strict or not before.blueprint.reload.keep_last_good
        return built.blueprint is None or (bool(built.problems) and (is_strict or built.serves_same_as(before)))

    async def _discard(self, built: BuildResult) -> None:
        """Break the reference cycles of a rejected build."""
        # Only in a process of its own are objects frozen, so that the garbage collector does not find these cycles.
        if not self._options.owns_process or built.blueprint is None:
            return
        await clear_types(built.blueprint.types.values())
        types, memory = built.memory.context.types if built.memory else None, self._built.memory if self._built else None
        if types is not None and memory is not None and not memory.refers_to(types):
            await clear_schema(types.schema)

    async def _build(self, files: Files) -> BuildResult:
        before = self._built.memory if self._built else None
        return await asyncio.to_thread(build_next, files, self._step_types, before)

    async def _swap(self, files: Files, built: BuildResult) -> list[Problem]:
        """Open a generation and make it the active one; return breaking changes instead if ``reject_breaking`` forbids them."""
        assert built.blueprint is not None
        resources = AsyncExitStack()
        opening = open_generation(
            built.blueprint,
            self._step_types,
            is_development=self._options.is_development,
            pools=self.pools,
            telemetry=self.telemetry,
        )
        generation = await resources.enter_async_context(opening)
        old, old_resources = self.generation, self._resources
        if old is not None and old_resources is not None:
            breaking = await self._check_and_warm_up(old, generation)
            if breaking:
                await resources.aclose()
                await generation.dismantle()
                return breaking
            self._retire(old, old_resources)
        # No await since _retire: its task would close the old generation while that is idle but still active.
        self.generation, self._resources, self._built = generation, resources, built
        self.telemetry.configure(built.blueprint.telemetry)
        for name in built.blueprint.insecure_sources:
            log.warning("the certificate of source '%s' is not verified: whoever answers in its place is believed", name)
        self._publish(built.blueprint.version, built.problems, self._kept_since(built.kept))
        if self._options.state is not None:
            await Versions(self._options.state).keep(files, built.blueprint.version, len(built.problems))
        return []

    async def _check_and_warm_up(self, old: Generation, new: Generation) -> list[Problem]:
        """Return the breaking changes if they are to be rejected; else plan the most requested documents on the new generation."""
        breaks = await asyncio.to_thread(breaking_changes, old.schema, new.schema)
        if breaks and new.blueprint.reload.reject_breaking:
            place = Place(str(self._folder))
            return [Problem(place, "schema", f"{change}; clients may rely on it", "breaking-change") for change in breaks]
        if breaks:
            log.warning("the change breaks clients: %s", "; ".join(breaks), extra={"version": new.blueprint.version})
        await new.preparation.warm_up(old.preparation, MAX_WARM_PLANS)
        return []

    def _reject(self, problems: Sequence[Problem], kept: Sequence[str] | None = None) -> str:
        self._publish(self.version, tuple(problems), self.kept if kept is None else self._kept_since(kept))
        log.error("configuration has problems; the last good one stays active\n%s", ConfigurationError(problems))
        return "rejected"

    def _kept_since(self, kept: Sequence[str]) -> dict[str, datetime]:
        """Return since when units are kept: now, or the earlier time if they were kept before."""
        now = datetime.now(UTC)
        return {key: self.kept.get(key, now) for key in kept}

    def _publish(self, version: str, problems: tuple[Problem, ...], kept: Mapping[str, datetime]) -> None:
        """Set the state that the admin listener and the playground show, and wake those that wait for a change of it."""
        self.version, self.problems, self.kept, self.since = version, problems, kept, datetime.now(UTC)
        self.changed.set()
        self.changed = asyncio.Event()

    def _retire(self, old: Generation, resources: AsyncExitStack) -> None:
        old.preparation.forget_documents()  # requests under way have what they need of it, and the new generation fills its own
        # Read now, before the swap replaces self._built: the new build's types are not the old generation's.
        types = self._built.memory.context.types if self._built and self._built.memory else None
        task = asyncio.create_task(self._close_retired(old, resources, types, self.keys.grace_ms / 1000))
        self._retiring[task] = old
        task.add_done_callback(self._retiring.pop)

    async def _close_retired(self, old: Generation, resources: AsyncExitStack, types: SdlTypes | None, grace: float) -> None:
        await _close_when_idle(old, resources, grace, self._is_closing)
        # After the grace time requests may still use it, which need its schema.
        if not self._options.owns_process or not old.is_idle or self._is_closing.is_set():
            return
        await old.dismantle()
        memory = self._built.memory if self._built else None
        # Builds share types that have not changed, so those of an old generation may be in use.
        if types is not None and memory is not None and not memory.refers_to(types):
            await clear_schema(types.schema)

    async def finish_mutations(self) -> None:
        """Wait for the mutations under way, whose clients may have left, at most for the grace time of a shutdown."""
        generations = [*self._retiring.values(), *([self.generation] if self.generation else ())]
        grace = self.generation.blueprint.server.shutdown_grace_ms / 1000 if self.generation else 0.0
        await asyncio.gather(*(generation.finish_mutations(grace) for generation in generations))

    async def aclose(self) -> None:
        """Close all connection pools, including those of retiring generations, after their mutations have ended."""
        self._is_closing.set()
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._resources is not None:
            await self._resources.aclose()
        self.generation = self._resources = None


async def _close_when_idle(generation: Generation, resources: AsyncExitStack, grace: float, is_closing: asyncio.Event) -> None:
    """Release an old generation's connection pools once its requests have ended, after a grace time (seconds), or when all are closed."""
    waits = {asyncio.create_task(generation.wait_until_idle()), asyncio.create_task(is_closing.wait())}
    await asyncio.wait(waits, timeout=grace, return_when=asyncio.FIRST_COMPLETED)
    for waiting in waits:
        waiting.cancel()
    await resources.aclose()


@asynccontextmanager
async def serve_folder(
    folder: Path,
    step_types: Mapping[str, StepType],
    options: ServeOptions = ServeOptions(),
    *,
    telemetry: Telemetry | None = None,
    is_watched: bool = True,
) -> AsyncIterator[Serving]:
    """Load a folder and reload it at each change.

    :raises ConfigurationError: with all problems of the folder at the start.
    """
    serving = Serving(folder, step_types, options, telemetry)
    await serving.start()
    watcher = asyncio.create_task(serving.follow()) if is_watched else None
    try:
        yield serving
    finally:
        if watcher is not None:
            watcher.cancel()
            # It may be in the middle of a write to a history that is locked, or of a read from a file system that hangs.
            await asyncio.wait({watcher}, timeout=CLOSE_SECONDS)
        await serving.aclose()
