"""Changes with something wrong in them: what is sound moves on, the rest keeps its last good definition, and what would clash waits."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.load.build.build import BuildResult, build_next
from gateway.load.build.unit import digest
from gateway.load.read.files import Files
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES

SOURCES = "sources: { core: { type: api, base_url: http://127.0.0.1:1 } }\ndefaults: { api: core }\n"
ACCOUNT = """
operation: account
args: { id: ID! }
steps: [ { name: step, type: api, endpoint: "/one/{id}", returns: Customer } ]
"""
ORDERS = """
operation: orders
steps: [ { name: step, type: api, endpoint: /orders, returns: "[Order]" } ]
"""
TYPES = "type Customer { id: ID name: String }\ntype Order { id: ID }\n"
GOOD = {"account.yaml": ACCOUNT, "orders.yaml": ORDERS, "sources.yaml": SOURCES, "types.graphql": TYPES}


def files_of(texts: Mapping[str, str]) -> Files:
    return Files(Path("config"), dict(sorted(texts.items())), (), digest(*texts, *texts.values())[:16])


def build(texts: Mapping[str, str], before: BuildResult | None = None) -> BuildResult:
    return build_next(files_of(texts), STEP_TYPES, before.memory if before else None, {})


def after(changes: Mapping[str, str | None]) -> BuildResult:
    """Return what comes of a change of the good configuration; None takes a file away."""
    first = build(GOOD)
    assert first.problems == ()
    return build({name: text for name, text in {**GOOD, **changes}.items() if text is not None}, first)


def inputs(built: BuildResult, operation: str) -> object:
    assert built.blueprint is not None
    build_schema(built.blueprint)
    return built.blueprint.operations[operation].steps["step"].keys.model_dump()["endpoint"]


def codes(built: BuildResult) -> list[str]:
    return [problem.code for problem in built.problems]


MOVED = {"orders.yaml": ORDERS.replace("/orders", "/moved")}


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (ACCOUNT.replace("{id}", "{idd}").replace("/one", "/two"), "unknown-reference"),
        (ACCOUNT.replace("type: api", "type: apy"), "unknown-step-type"),
        (ACCOUNT.replace("returns: Customer", "returns: Custommer").replace("/one", "/two"), "unknown-type"),
        (ACCOUNT.replace("/one", "${UNSET}"), "missing-environment"),
        (ACCOUNT.replace("steps:", "step:"), "missing-key"),
        ("operation: account\nsteps: [", "yaml-syntax"),
        (ACCOUNT.replace("operation:", "opperation:"), "unknown-document"),
        (ACCOUNT + "---\n" + ACCOUNT, "duplicate-name"),
    ],
)
@pytest.mark.case("R-02")
def test_a_broken_operation_keeps_its_last_good_definition_and_others_move_on(broken: str, code: str) -> None:
    built = after({"account.yaml": broken, **MOVED})
    assert code in codes(built)
    assert built.kept == ("operation account",)
    assert inputs(built, "account") == "/one/{id}"
    assert inputs(built, "orders") == "/moved"
    assert all(problem.place.file == "account.yaml" for problem in built.problems)


def test_the_problems_stay_until_they_are_mended() -> None:
    broken = {**GOOD, "account.yaml": ACCOUNT.replace("{id}", "{idd}")}
    built = build({**broken, **MOVED}, build(broken, build(GOOD)))
    assert codes(built) == ["unknown-reference"]
    assert inputs(built, "account") == "/one/{id}"
    mended = build({**GOOD, "account.yaml": ACCOUNT.replace("/one", "/two")}, built)
    assert (mended.problems, mended.kept) == ((), ())
    assert inputs(mended, "account") == "/two/{id}"
    assert inputs(mended, "orders") == "/orders"


def test_a_type_that_is_removed_stays_for_the_operations_that_need_it() -> None:
    built = after({"types.graphql": "type Order { id: ID total: Int }\n", **MOVED})
    assert codes(built) == ["unknown-type"]
    assert built.kept == ("operation account",)
    assert built.blueprint is not None
    assert set(built.blueprint.types) == {"Customer", "Order", "JSON"}
    assert inputs(built, "orders") == "/moved"
    again = build({**GOOD, **MOVED, "types.graphql": "type Order { id: ID total: Int }\n"}, built)
    assert codes(again) == ["unknown-type"]
    assert again.blueprint is not None
    assert "Customer" in again.blueprint.types


def test_a_type_that_a_kept_operation_was_built_on_may_not_change_under_it() -> None:
    """The step still has its old call: with a renamed field it would answer null without an error."""
    types = TYPES.replace("name: String", "fullName: String")
    built = after({"account.yaml": ACCOUNT.replace("{id}", "{idd}"), "types.graphql": types, **MOVED})
    assert codes(built) == ["unknown-reference"]
    assert built.blueprint is None
    without_mistake = after({"account.yaml": ACCOUNT, "types.graphql": types, **MOVED})
    assert without_mistake.problems == ()


@pytest.mark.parametrize("types", ["type Customer { id: ID", "type Customer { id: Nothing }", "type Query { a: Int }"])
def test_broken_types_leave_the_old_ones_and_all_that_fits_them_moves_on(types: str) -> None:
    built = after({"types.graphql": types, **MOVED})
    assert codes(built)[0].startswith("sdl-")
    assert inputs(built, "orders") == "/moved"
    assert inputs(built, "account") == "/one/{id}"
    again = build({**GOOD, **MOVED, "types.graphql": types}, built)
    assert codes(again) == codes(built)
    assert build(GOOD, again).problems == ()


@pytest.mark.parametrize(
    "sources",
    [
        SOURCES.replace("http:", "htp:"),
        SOURCES.replace("base_url", "bass_url"),
        "sources: { core: [",
        SOURCES.replace("defaults: { api: core }", "defaults: { api: cor }"),
    ],
)
def test_broken_sources_leave_the_old_ones(sources: str) -> None:
    built = after({"sources.yaml": sources, **MOVED})
    assert built.problems
    assert inputs(built, "orders") == "/moved"
    assert built.blueprint is not None
    assert {source.keys.base_url for source in built.blueprint.called} == {"http://127.0.0.1:1"}  # type: ignore[attr-defined]
    assert codes(build({**GOOD, "sources.yaml": sources}, built)) == codes(built)
    assert build(GOOD, built).problems == ()


def test_a_source_that_is_removed_stays_for_the_operations_that_call_it() -> None:
    other = "sources: { other: { type: api, base_url: http://127.0.0.1:2 } }\n"
    built = after({"sources.yaml": other, "orders.yaml": ORDERS.replace("type: api", "type: api, source: other")})
    assert codes(built) == ["missing-source"]
    assert built.blueprint is not None
    assert list(built.blueprint.sources) == ["other"]
    assert {source.name for source in built.blueprint.called} == {"core", "other"}


def test_a_source_that_does_not_change_stays_the_same_object_and_with_it_its_pool() -> None:
    first = build(GOOD)
    second = build({**GOOD, **MOVED, "sources.yaml": "\n" + SOURCES}, first)
    third = build({**GOOD, "sources.yaml": SOURCES.replace("127.0.0.1:1", "127.0.0.1:2")}, second)
    called = [built.blueprint.called if built.blueprint else frozenset() for built in (first, second, third)]
    assert called[0] == called[1]
    assert called[2].isdisjoint(called[0])
    assert all(called)


def test_operations_that_are_deleted_go() -> None:
    built = after({"account.yaml": None})
    assert built.problems == ()
    assert built.blueprint is not None
    assert list(built.blueprint.operations) == ["orders"]


OVERLAY = """
overlay: gold
when: { tier: gold }
operation: account
steps: [ { name: step, timeout_ms: 100 } ]
"""
CONTEXT = "context: { tier: request.headers.x-tier }\n".replace("x-tier", '"x-tier"')


@pytest.mark.parametrize(
    "overlay", [OVERLAY.replace("timeout_ms", "timeout"), "overlay: [", OVERLAY.replace("name: step", "name: stepp")]
)
def test_a_broken_overlay_stays_as_it_was_and_its_operation_moves_on(overlay: str) -> None:
    good = {**GOOD, "gold.yaml": OVERLAY, "context.yaml": CONTEXT}
    first = build(good)
    built = build({**good, "gold.yaml": overlay, "account.yaml": ACCOUNT.replace("/one", "/two"), **MOVED}, first)
    assert built.problems
    assert built.kept == ("overlay gold of operation account",)
    assert inputs(built, "account") == "/two/{id}"
    assert inputs(built, "orders") == "/moved"
    assert built.blueprint is not None
    assert built.blueprint.effective("account", (0,)).steps["step"].timeout == 0.1


SILVER = OVERLAY.replace("gold", "silver").replace("100", "200")
BROKEN_OVERLAYS = {
    "unknown key": OVERLAY.replace("timeout_ms", "timeout"),
    "unknown step": OVERLAY.replace("name: step", "name: stepp"),
    "wrong value": OVERLAY.replace("100", "fast"),
    "wrong reference": OVERLAY.replace("timeout_ms: 100", 'endpoint: "/{nothing}"'),
    "unknown context": OVERLAY.replace("tier: gold", "tire: gold"),
    "unknown operation": OVERLAY.replace("operation: account", "operation: acount"),
    "no operation": OVERLAY.replace("operation: account", "opperation: account"),
    "no name": OVERLAY.replace("overlay: gold", "overlay: [gold]"),
    "no YAML": "overlay: [",
    "two of a name": OVERLAY + "---" + OVERLAY.replace("100", "300"),
    "added twice": OVERLAY + "  - { name: more, type: value }",
}


def timeouts(built: BuildResult) -> dict[str, float]:
    """Return by overlay the timeout that the step has with that overlay alone."""
    assert built.blueprint is not None
    return {
        overlay.name: built.blueprint.effective("account", (position,)).steps["step"].timeout
        for position, overlay in enumerate(built.blueprint.overlays)
    }


@pytest.mark.parametrize("name", BROKEN_OVERLAYS)
@pytest.mark.case("R-02")
def test_a_broken_overlay_of_one_tenant_does_not_hold_back_a_change_of_another(name: str) -> None:
    good = {**GOOD, "gold.yaml": OVERLAY, "silver.yaml": SILVER, "context.yaml": CONTEXT}
    first = build(good)
    assert timeouts(first) == {"gold": 0.1, "silver": 0.2}
    broken = {**good, "gold.yaml": BROKEN_OVERLAYS[name]}
    alone = build(broken, first)
    assert alone.problems
    assert alone.serves_same_as(first), "nothing sound has changed"
    moved = build({**broken, "silver.yaml": SILVER.replace("200", "250")}, alone)
    assert codes(moved) == codes(alone)
    assert timeouts(moved) == {"gold": 0.1, "silver": 0.25}
    assert "overlay gold of operation account" in moved.kept
    mended = build({**good, "gold.yaml": OVERLAY.replace("100", "150"), "silver.yaml": SILVER}, moved)
    assert (mended.problems, mended.kept, timeouts(mended)) == ((), (), {"gold": 0.15, "silver": 0.2})


@pytest.mark.parametrize("name", BROKEN_OVERLAYS)
def test_an_overlay_that_is_broken_from_its_first_day_is_left_out(name: str) -> None:
    good = {**GOOD, "silver.yaml": SILVER, "context.yaml": CONTEXT}
    first = build(good)
    built = build({**good, "gold.yaml": BROKEN_OVERLAYS[name], "silver.yaml": SILVER.replace("200", "250")}, first)
    assert built.problems
    assert timeouts(built)["silver"] == 0.25
    assert "gold" not in timeouts(built)


def test_at_the_first_load_an_operation_with_a_broken_overlay_is_left_out() -> None:
    for name in ("unknown key", "unknown step", "wrong reference"):
        built = build({**GOOD, "gold.yaml": BROKEN_OVERLAYS[name], "silver.yaml": SILVER, "context.yaml": CONTEXT})
        assert built.blueprint is not None
        assert list(built.blueprint.operations) == ["orders"]


def test_an_overlay_that_is_deleted_goes() -> None:
    first = build({**GOOD, "gold.yaml": OVERLAY, "context.yaml": CONTEXT})
    built = build({**GOOD, "context.yaml": CONTEXT}, first)
    assert built.problems == ()
    assert built.blueprint is not None
    assert built.blueprint.overlays == ()


def test_a_context_key_that_is_removed_stays_for_what_needs_it() -> None:
    first = build({**GOOD, "gold.yaml": OVERLAY, "context.yaml": CONTEXT})
    built = build({**GOOD, "gold.yaml": OVERLAY, **MOVED}, first)
    assert codes(built) == ["unknown-reference"]
    assert built.blueprint is not None
    assert list(built.blueprint.context) == ["tier"]
    assert [overlay.name for overlay in built.blueprint.overlays] == ["gold"]
    assert inputs(built, "orders") == "/moved"


LINK = 'field: Order.account\nreturns: Customer\nstep: { type: api, endpoint: "/one/{parent.id}" }\n'


def test_a_broken_link_keeps_its_last_good_definition() -> None:
    first = build({**GOOD, "link.yaml": LINK})
    built = build({**GOOD, "link.yaml": LINK.replace("parent.id", "parent.idd").replace("/one", "/two"), **MOVED}, first)
    assert codes(built) == ["unknown-field"]
    assert built.kept == ("field Order.account",)
    assert built.blueprint is not None
    assert built.blueprint.links["Order", "account"].step.keys.model_dump()["endpoint"] == "/one/{parent.id}"
    assert inputs(built, "orders") == "/moved"


def test_at_the_first_load_what_is_wrong_is_left_out() -> None:
    built = build({**GOOD, "account.yaml": ACCOUNT.replace("{id}", "{idd}")})
    assert codes(built) == ["unknown-reference"]
    assert built.blueprint is not None
    assert list(built.blueprint.operations) == ["orders"]


@pytest.mark.parametrize(
    "broken", [{"sources.yaml": "sources: ["}, {"orders.yaml": "a: b", "account.yaml": ""}, {"types.graphql": "type {"}]
)
def test_at_the_first_load_nothing_that_is_served_stands_on_what_is_broken(broken: Mapping[str, str]) -> None:
    assert build({**GOOD, **broken}).blueprint is None


def test_an_operation_that_needs_no_types_is_served_without_them() -> None:
    plain = "operation: plain\nsteps: [ { name: step, type: api, endpoint: /plain } ]\n"
    built = build({**GOOD, "plain.yaml": plain, "types.graphql": "type {"})
    assert codes(built) == ["sdl-syntax"]
    assert inputs(built, "plain") == "/plain"


def test_a_new_operation_may_not_take_the_type_of_a_kept_one() -> None:
    thief = "operation: thief\ntype: Holding\nsteps: [ { name: step, type: value, value: 1 } ]\n"
    named = ACCOUNT.replace("steps:", "type: Holding\nsteps:")
    first = build({**GOOD, "account.yaml": named})
    broken = named.replace("{id}", "{idd}")
    assert build({**GOOD, "account.yaml": broken, "thief.yaml": thief}, first).blueprint is None


def test_only_what_a_change_touches_is_made_again() -> None:
    first = build(GOOD)
    assert first.memory is not None

    def made_again(changes: Mapping[str, str]) -> set[str]:
        built = build({**GOOD, **changes}, first)
        assert built.memory is not None
        assert built.problems == ()
        return {key for key, unit in built.memory.units.items() if first.memory and first.memory.units.get(key) is not unit}

    assert made_again({}) == set()
    assert made_again(MOVED) == {"operation orders"}
    assert made_again({"types.graphql": TYPES.replace("Order { id: ID", "Order { id: ID total: Int")}) == {"operation orders"}
    assert made_again({"types.graphql": TYPES + "type Orders { step: [Order] }"}) == {"operation orders"}
    assert made_again({"sources.yaml": SOURCES.replace(":1 }", ":2 }")}) == {"operation account", "operation orders"}
    assert made_again({"new.yaml": "operation: new\nsteps: [ { name: step, type: value, value: 1 } ]"}) == {"operation new"}
    assert made_again({"context.yaml": CONTEXT}) == {"operation account", "operation orders"}
