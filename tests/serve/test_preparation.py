"""Documents and plans: short ones are made at once, long ones in a thread; each is made once, and all are kept within their share of memory."""

import asyncio
import gc
import json
import threading
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.blueprint import Priority
from gateway.contract import RequestContext
from gateway.contract.request import GraphQLRequest, PendingAnswer
from gateway.document.document import DocumentReader
from gateway.errors import Code, RequestError
from gateway.load.build.build import load
from gateway.serve.generation.generation import Generation, open_generation
from gateway.serve.generation.plans import Plans
from gateway.serve.generation.preparation import DOCUMENTS_SHARE, LARGE_TEXT
from resolvers import STEP_TYPES
from tests.kit.serving import write_files

TYPES = 30
SDL = "\n".join(
    [
        "interface Node { id: Int name: String child: Node }",
        *(f"type T{number} implements Node {{ id: Int name: String child: Node x{number}: Int }}" for number in range(TYPES)),
        "type Wide { " + " ".join(f"f{number}: Int" for number in range(40)) + " }",
    ]
)
CONFIG = """
operation: start
priority: high
steps:
  - { name: node, type: value, value: { __typename: T1, id: 1, child: { __typename: T2, id: 2 } }, returns: Node }
  - { name: wide, type: value, value: {}, returns: Wide }
"""
LONG = "{ start { node { id child { id } } } } #" + " long" * (LARGE_TEXT // 5)
DEAR = (
    "{ start { node { "
    + " ".join(f"... on T{number} {{ child {{ {' '.join(f'a{number}: id' for _ in range(2))} }} }}" for number in range(TYPES))
    + " } } }"
)
"""Short, but every type of an interface has another selection of it."""


@asynccontextmanager
async def opened(folder: Path, more: str = "") -> AsyncIterator[Generation]:
    files = {"types.graphql": SDL, "start.yaml": CONFIG, "more.yaml": f"limits: {{ max_aliases: 200 }}\n{more}"}
    blueprint = await asyncio.to_thread(load, write_files(folder, files), STEP_TYPES)
    async with open_generation(blueprint, STEP_TYPES) as generation:
        yield generation


def begin(generation: Generation, query: str, **variables: object) -> bytes | PendingAnswer:
    context = RequestContext("id", {}, asyncio.get_running_loop().time())
    return generation.begin(GraphQLRequest(query, variables=variables), context)


async def answer(generation: Generation, query: str, **variables: object) -> Any:
    begun = begin(generation, query, **variables)
    return json.loads(begun if isinstance(begun, bytes) else await begun())


@pytest.fixture
def made_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """Note what is read and planned, and whether that is in the thread of the event loop."""
    made: list[tuple[str, bool]] = []
    read, create = DocumentReader.read, Plans.create

    def noted(kind: str) -> None:
        made.append((kind, threading.current_thread() is threading.main_thread()))

    def reading(*arguments: Any) -> Any:
        result = read(*arguments)
        noted("read")
        return result

    def creating(*arguments: Any) -> Any:
        result = create(*arguments)
        noted("plan")
        return result

    monkeypatch.setattr(DocumentReader, "read", reading)
    monkeypatch.setattr(Plans, "create", creating)
    return made


@pytest.mark.case("Q-13", "Q-18")
@pytest.mark.parametrize(
    ("query", "made"),
    [
        ("{ start { node { id child { id } } } }", [("read", True), ("plan", True)]),
        (LONG, [("read", False), ("plan", False)]),
        (DEAR, [("read", True), ("plan", False)]),
    ],
    ids=["short", "long", "dear"],
)
def test_what_takes_long_is_made_in_a_thread_and_once(
    query: str, made: list[tuple[str, bool]], made_in: list[tuple[str, bool]], tmp_path: Path
) -> None:
    async def act() -> list[Any]:
        async with opened(tmp_path) as generation:
            at_once = await asyncio.gather(*(answer(generation, query) for _ in range(5)))
            return [*at_once, await answer(generation, query)]

    answers = asyncio.run(act())
    assert answers[0]["data"]["start"]["node"] is not None
    assert answers == answers[:1] * 6
    # A plan that was tried at once and has turned out to be long is made anew in the thread.
    assert made_in == made


def test_the_loop_goes_on_while_a_long_document_is_read(tmp_path: Path) -> None:
    async def act() -> None:
        async with opened(tmp_path) as generation:
            pending = begin(generation, LONG)
            assert not isinstance(pending, bytes)
            assert not generation.is_idle or isinstance(begin(generation, "{ __typename }"), bytes)
            waiting = asyncio.ensure_future(pending())
            await asyncio.sleep(0)
            assert not generation.is_idle  # it is not closed meanwhile
            assert json.loads(begin(generation, "{ __typename }")) == {"data": {"__typename": "Query"}}  # type: ignore[arg-type]
            await waiting
            assert generation.is_idle

    asyncio.run(act())


@pytest.mark.parametrize(
    ("query", "code"),
    [
        (f"{{ nothing }} #{'x' * LARGE_TEXT}", Code.GRAPHQL_VALIDATION_FAILED),
        (f"{{ start {{ #{'x' * LARGE_TEXT}", Code.GRAPHQL_PARSE_FAILED),
        ("{ start { node { " + "id " * 3000 + "} } }", Code.TOKEN_LIMIT_EXCEEDED),
    ],
)
def test_what_is_refused_is_refused_from_the_thread_too(query: str, code: Code, tmp_path: Path) -> None:
    async def act() -> None:
        async with opened(tmp_path) as generation:
            with pytest.raises(RequestError) as caught:
                await answer(generation, query)
            assert (caught.value.code, caught.value.status) == (code, 400)

    asyncio.run(act())


def test_a_request_whose_time_is_over_before_its_document_is_read_is_told_so(tmp_path: Path) -> None:
    async def act() -> None:
        async with opened(tmp_path, "---\nserver: { request_timeout_ms: 50 }\n") as generation:
            began, release = threading.Event(), threading.Event()

            def hold() -> None:
                began.set()
                release.wait(20)

            holding = asyncio.ensure_future(generation.preparation._background.do("hold", hold))
            await asyncio.to_thread(began.wait, 20)
            try:
                with pytest.raises(RequestError) as caught:
                    await answer(generation, LONG)
                assert (caught.value.code, caught.value.status) == (Code.GATEWAY_TIMEOUT, 504)
            finally:
                release.set()
                await holding

    asyncio.run(act())


def test_the_priority_of_a_long_new_document_is_not_known_yet(tmp_path: Path) -> None:
    async def act() -> None:
        async with opened(tmp_path) as generation:
            assert generation.priority("{ start { wide { f0 } } }") is Priority.HIGH
            assert generation.priority(LONG) is Priority.NORMAL
            await answer(generation, LONG)
            assert generation.priority(LONG) is Priority.HIGH

    asyncio.run(act())


def conditional(number: int) -> tuple[str, list[str]]:
    """Return a document with six conditions, and their variables."""
    names = [f"v{bit}" for bit in range(6)]
    fields = " ".join(
        f"w{number}x{bit}: wide @include(if: ${name}) {{ {' '.join(f'f{(number + bit + part) % 40}' for part in range(6))} }}"
        for bit, name in enumerate(names)
    )
    return f"query ({' '.join(f'${name}: Boolean!' for name in names)}) {{ start {{ node {{ id }} {fields} }} }}", names


@pytest.mark.case("Q-15")
def test_conditions_in_all_combinations_take_no_more_memory_than_estimated(tmp_path: Path) -> None:
    async def act() -> None:
        limit = 28_000_000
        async with opened(tmp_path, f"---\nserver: {{ max_cache_bytes: {limit} }}\n") as generation:

            async def ask(number: int) -> None:
                query, names = conditional(number)
                for bits in range(64):
                    await answer(generation, query, **{name: bool(bits >> bit & 1) for bit, name in enumerate(names)})

            await ask(99)
            documents = generation.capacity.caches["documents"]
            gc.collect()
            tracemalloc.start()
            try:
                before, estimated = tracemalloc.get_traced_memory()[0], documents.bytes
                await ask(0)
                gc.collect()
                taken, grown = tracemalloc.get_traced_memory()[0] - before, documents.bytes - estimated
                assert 0.5 * grown < taken < 1.3 * grown
                for number in range(1, 5):
                    await ask(number)
                gc.collect()
                assert tracemalloc.get_traced_memory()[0] - before < 1.3 * DOCUMENTS_SHARE * limit
            finally:
                tracemalloc.stop()
            assert documents.evicted
            assert documents.bytes <= DOCUMENTS_SHARE * limit

    asyncio.run(act())


def test_what_was_asked_for_most_is_known_to_the_next_configuration(tmp_path: Path) -> None:
    async def act() -> None:
        query, names = conditional(0)
        async with opened(tmp_path) as old, opened(tmp_path) as new:
            for values in ({"v0": True}, {"v0": False}):
                await answer(old, query, **dict.fromkeys(names, False) | values)
            for _ in range(3):
                await answer(old, LONG)
            await answer(old, "{ start { wide { f1 } } }")  # only once
            await new.preparation.warm_up(old.preparation, 3)
            assert isinstance(begin(new, LONG), bytes)
            documents = new.capacity.caches["documents"]
            assert len(documents) == 2
            definition = new.read(query).definition(None, is_read_only=False)
            assert len(new.plans.cached_plans(definition)) == 2
            assert len(documents) == 2

    asyncio.run(act())


def test_what_is_dropped_is_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    """A change of the configuration freezes all objects, so that the collector never sees them again: a circle would stay for good."""
    deep = (
        "{ start { node { "
        + "child { id name " * 12
        + "}" * 12
        + " } "
        + "wide { "
        + " ".join(f"f{n}" for n in range(40))
        + " } } }"
    )

    async def act() -> Counter[str]:
        async with opened(tmp_path) as generation:
            await answer(generation, deep)
            generation.preparation.forget_documents()
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await answer(generation, deep)
                generation.preparation.forget_documents()
                gc.collect()
                return Counter(type(item).__name__ for item in gc.garbage)
            finally:
                gc.set_debug(0)
                gc.garbage.clear()

    found = asyncio.run(act())
    kept = {
        "FieldNode",
        "SelectionSetNode",
        "DocumentNode",
        "Token",
        "Location",
        "Selected",
        "Parts",
        "CompiledPlan",
        "Plan",
        "Definition",
    }
    assert not kept & found.keys(), found
    assert found["function"] < 60, "those of graphql-core's own visitors"
