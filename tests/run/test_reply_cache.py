"""The cache of replies: which calls are equal, which replies are evicted, and calls that join equal ones."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from pathlib import Path

import pytest

from gateway.blueprint import Step
from gateway.cache import Capacity
from gateway.contract import CallContext, Inputs, Reply, RequestContext
from gateway.errors import ConfigurationError, StepFault
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.run.reply_cache import ReplyCache, ReplySharing, with_shared
from resolvers import STEP_TYPES
from tests.kit.virtual import run

CONFIG = """
sources: { core: { type: api, base_url: "http://core.test", dedupe: true } }
defaults: { api: core }
---
operation: o
args: { id: ID! }
steps:
  - { name: a, type: api, endpoint: "/a/{id}", fallback: [{ stale_ms: 1000 }] }
  - { name: same, type: api, endpoint: "/a/{id}", fallback: [{ stale_ms: 5 }] }
  - { name: b, type: api, endpoint: "/b/{id}" }
"""


def steps(folder: Path, config: str = CONFIG) -> dict[str, Step]:
    return dict(build(Files(folder, {str(folder / "a.yaml"): config}, (), "test"), STEP_TYPES, {}).operations["o"].steps)


def test_a_value_is_found_by_what_the_call_does_and_all_of_its_inputs(tmp_path: Path) -> None:
    steps_by_name, cache = steps(tmp_path), ReplyCache()
    cache.keep(steps_by_name["a"], {"headers": {"authorization": "ada"}}, Reply(1), 5.0)
    cache.keep(steps_by_name["a"], {"headers": {"authorization": "bob"}}, Reply(2), 6.0)
    last = cache.find(steps_by_name["same"], {"headers": {"authorization": "ada"}})
    assert last is not None
    assert (last.reply.value, last.at) == (1, 5.0)
    assert cache.find(steps_by_name["b"], {"headers": {"authorization": "ada"}}) is None
    assert cache.find(steps_by_name["a"], {"headers": {}}) is None


def test_the_value_that_was_not_used_for_the_longest_time_leaves_for_a_new_one(tmp_path: Path) -> None:
    step, values = steps(tmp_path)["a"], ReplyCache(Capacity(2500))
    for index in (1, 2, 1, 3):
        values.keep(step, {"id": index}, Reply(f"value {index}"), float(index))
    assert len(values) == 2
    assert values.find(step, {"id": 2}) is None
    assert values.find(step, {"id": 1}) is not None


def test_all_values_together_have_a_size_and_one_that_is_larger_is_not_kept(tmp_path: Path) -> None:
    step, values = steps(tmp_path)["a"], ReplyCache(Capacity(8000))
    for index in range(100):
        values.keep(step, {"id": index}, Reply("x" * 200), 0.0)
    assert 1 <= len(values) < 5
    assert values.capacity.bytes <= 8000
    values.keep(step, {"id": 99}, Reply("x" * 2000), 0.0)
    assert values.find(step, {"id": 99}) is None
    assert values.find(step, {"id": 98}) is not None
    assert 0 < values.capacity.bytes <= 8000


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("method: POST, fallback: [{ stale_ms: 1000 }]", "stale-not-idempotent"),
        ("fallback: [{ stale_ms: 1000, value: 1 }]", "bad-fallback"),
        ("fallback: [{ stale_ms: 0 }]", "bad-value"),
    ],
)
def test_a_stale_fallback_that_makes_no_sense_is_a_problem(written: str, code: str, tmp_path: Path) -> None:
    config = CONFIG.replace("fallback: [{ stale_ms: 1000 }]", written)
    with pytest.raises(ConfigurationError) as raised:
        steps(tmp_path, config)
    assert [problem.code for problem in raised.value.problems] == [code]


def test_a_call_that_begins_while_an_equal_one_is_being_cancelled_ends_well(tmp_path: Path) -> None:
    started = 0

    async def call(_: Inputs, __: CallContext) -> Reply:
        nonlocal started
        started += 1
        number = started
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            await asyncio.sleep(0.005)  # its cleanup takes a while
            raise
        return Reply(number)

    counts: Counter[str] = Counter()

    async def act() -> object:
        shared = with_shared(call, steps(tmp_path)["b"], ReplySharing.new(set(), counts))
        context = CallContext(RequestContext("r", {}, 0.0), 1.0)
        first = asyncio.create_task(_value(shared({}, context)))
        await asyncio.sleep(0.001)
        first.cancel()
        await asyncio.sleep(0)
        return await _value(shared({}, CallContext(RequestContext("s", {}, 0.0), 1.0)))

    assert run(act()) == 2
    assert counts["call_joined"] == 0  # it has not joined the cancelled call


def test_equal_calls_of_one_moment_are_one_call_with_time_until_the_latest_deadline(tmp_path: Path) -> None:
    contexts: list[CallContext] = []

    async def call(_: Inputs, context: CallContext) -> Reply:
        contexts.append(context)
        await asyncio.sleep(0.05)
        return Reply("late")

    counts: Counter[str] = Counter()
    deadlines = (0.02, 0.2, 0.1)

    async def act() -> list[object]:
        shared = with_shared(call, steps(tmp_path)["b"], ReplySharing.new(set(), counts))
        contexts = [CallContext(RequestContext("r", {}, 0.0), deadline) for deadline in deadlines]
        return await asyncio.gather(*(_value(shared({}, context)) for context in contexts), return_exceptions=True)

    cut, *others = run(act())
    assert isinstance(cut, StepFault)
    assert (cut.kind, others) == ("timeout", ["late", "late"])
    assert [context.deadline for context in contexts] == [0.2]
    assert counts["call_joined"] == 2


async def _value(replying: Awaitable[Reply]) -> object:
    return (await replying).value
