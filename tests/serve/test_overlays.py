"""Request adapter and configuration resolver: which overlays match, the effective operations, and the problems of overlays."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.blueprint import Blueprint, Operation
from gateway.cli import command_line
from gateway.cli.author.plan import winning_lines
from gateway.contract import KeyProblem, RequestContext
from gateway.contract.request import GraphQLRequest
from gateway.errors import ConfigurationError, Problem, RequestError
from gateway.language.evaluation import MAX_INLINE
from gateway.language.expression import Expression
from gateway.load.build.build import build
from gateway.load.read.files import Files
from gateway.serve.generation.generation import open_generation
from gateway.serve.generation.overlays import Overlays
from gateway.serve.http.endpoint import GraphQLEndpoint
from gateway.serve.http.request import HttpMessage
from gateway.serve.http.response import HttpResponse
from resolvers import STEP_TYPES
from resolvers.api import Api
from resolvers.value import Value, ValueKeys
from tests.kit.scripted import BASE_URL, Upstreams
from tests.kit.timing import least_cpu_seconds
from tests.kit.virtual import run

SOURCES = f"""\
sources:
  core: {{ type: api, base_url: {BASE_URL}, retry: {{ attempts: 1 }} }}
  warehouse: {{ type: warehouse, url: sqlite:///warehouse.db }}
defaults: {{ api: core, warehouse: warehouse }}
---
context:
  tenant: request.headers."x-tenant"
  flags: request.headers."x-flags"
"""
BASE = """\
operation: customer
steps:
  - { name: account, type: api, endpoint: "/accounts/{id}" }
  - { name: risk, type: warehouse, query: "SELECT score FROM risk WHERE id = ?", timeout_ms: 1200 }
aggregation: { required_steps: [account] }
"""
TYPES = "type Customer { account: Account risk: Risk disputes: [Dispute!] }\n" + "".join(
    f"type {name} {{ id: ID! }}\n" for name in ("Account", "Risk", "Dispute", "Other")
)


def load(overlays: str, base: str = BASE, types: str = "", step_types: Mapping[str, Any] = STEP_TYPES) -> Blueprint:
    texts = {"base.yaml": base, "overlays.yaml": overlays, "sources.yaml": SOURCES}
    return build(Files(Path(), {**texts, **({"types.graphql": types} if types else {})}, (), "test"), step_types, {})


def problems(overlays: str, base: str = BASE, types: str = "") -> list[Problem]:
    with pytest.raises(ConfigurationError) as refused:
        load(overlays, base, types)
    return list(refused.value.problems)


def effective(blueprint: Blueprint, name: str = "customer", **values: object) -> Operation:
    overlays = Overlays(blueprint)
    return overlays.effective(overlays.matching(values)).operations[name]


GOLD = """\
overlay: gold
when: { tenant: gold }
operation: customer
deadline_ms: 800
steps:
  - { name: risk, timeout_ms: 300 }
  - { name: disputes, type: api, endpoint: "/disputes/{id}" }
aggregation: { required_steps: [account, risk] }
"""


def test_an_overlay_changes_what_it_names_and_nothing_else() -> None:
    blueprint = load(GOLD)
    base, gold = blueprint.operations["customer"], effective(blueprint, tenant="gold")
    assert [(step.name, step.timeout, step.is_required) for step in base.steps.values()] == [
        ("account", 5.0, True),
        ("risk", 1.2, False),
    ]
    assert [(step.name, step.timeout, step.is_required) for step in gold.steps.values()] == [
        ("account", 5.0, True),
        ("risk", 0.3, True),
        ("disputes", 5.0, False),
    ]
    assert (base.deadline, gold.deadline) == (30, 0.8)
    assert gold.arguments == base.arguments
    assert gold.steps["account"].fingerprint == base.steps["account"].fingerprint
    assert effective(blueprint, tenant="silver") is base


def test_arguments_that_were_inferred_stay_those_of_the_base() -> None:
    added = 'steps: [ { name: notes, type: api, endpoint: "/notes/{idd}" } ]'
    (problem,) = problems(f"overlay: gold\nwhen: {{ tenant: gold }}\noperation: customer\n{added}\n")
    assert (problem.code, problem.message) == ("unknown-reference", "unknown reference 'idd'; did you mean 'id'?")


def test_overlays_apply_in_order_of_path_and_document_and_the_last_line_wins() -> None:
    beta = "overlay: beta\nwhen: { flags: beta }\noperation: customer\n"
    beta += "steps: [ { name: risk, timeout_ms: 200, retry: { attempts: 2 } } ]\n"
    blueprint = load(f"{GOLD}---\n{beta}")
    operation = effective(blueprint, tenant="gold", flags="beta")
    assert operation.steps["risk"].timeout == 0.2
    overlays = Overlays(blueprint)
    assert list(winning_lines(blueprint, overlays.matching({"tenant": "gold", "flags": "beta"}))) == [
        ("customer.disputes = added", "overlays.yaml:7  overlay gold"),
        ("customer.aggregation.required_steps = [account, risk]", "overlays.yaml:8  overlay gold"),
        ("customer.deadline_ms = 800", "overlays.yaml:4  overlay gold"),
        ("customer.risk.timeout_ms = 200", "overlays.yaml:13  overlay beta"),
        ("customer.risk.retry.attempts = 2", "overlays.yaml:13  overlay beta"),
    ]


@pytest.mark.parametrize(
    ("when", "values", "matches"),
    [
        ("{ tenant: gold }", {"tenant": "gold"}, True),
        ("{ tenant: gold }", {"tenant": "Gold"}, False),
        ("{ tenant: gold }", {}, False),
        ("{ tenant: gold }", {"tenant": None}, False),
        ("{ tenant: [gold, silver] }", {"tenant": "silver"}, True),
        ("{ tenant: gold, flags: beta }", {"tenant": "gold"}, False),
        ("{ tenant: gold, flags: beta }", {"tenant": "gold", "flags": "beta"}, True),
        ("{ tenant: 42 }", {"tenant": "42"}, True),
        ("{ tenant: true }", {"tenant": True}, True),
        ("{ flags: beta }", {"flags": ["alpha", "beta"]}, True),
        ("{ flags: beta }", {"flags": []}, False),
    ],
)
def test_all_keys_must_hold_and_one_of_the_values_of_each(when: str, values: Mapping[str, object], matches: bool) -> None:
    blueprint = load(f"overlay: one\nwhen: {when}\noperation: customer\ndeadline_ms: 5\n")
    assert bool(Overlays(blueprint).matching(values)) is matches


@pytest.mark.parametrize(
    ("written", "place", "code", "message"),
    [
        ("when: { tennant: gold }", "2:9", "unknown-reference", "unknown context key 'tennant'; did you mean 'tenant'?"),
        ("when: {}", "2:7", "bad-value", "expected "),
        ("operation: custmer", "3:12", "unknown-operation", "unknown operation 'custmer'; did you mean 'customer'?"),
        ("steps: [ { name: rsik, timeout_ms: 3 } ]", "4:18", "unknown-step", "unknown step 'rsik'; did you mean 'risk'?"),
        ("steps: [ { name: risk, timout_ms: 3 } ]", "4:24", "unknown-key", "unknown key 'timout_ms'; did you mean 'timeout_ms'?"),
        ("steps: [ { name: risk, timeout_ms: no } ]", "4:36", "wrong-type", "expected a whole number"),
        ("steps: [ { name: risk, returns: Account } ]", "4:24", "unpatchable-key", "'returns' makes the schema"),
        ("steps: [ { name: risk, as: danger } ]", "4:24", "unpatchable-key", "'as' makes the schema"),
        ("steps: [ { timeout_ms: 3 } ]", "4:10", "missing-key", "the key 'name' is missing"),
        ("steps: [ { name: risk, type: api, endpoint: /x } ]", "4:30", "duplicate-name", "the operation has a step 'risk'"),
        ("steps: [ { name: risk }, { name: risk } ]", "4:34", "duplicate-name", "a second step of the name 'risk'"),
        ("steps: [ { name: risk, depends_on: [acount] } ]", "4:37", "unknown-step", "unknown step 'acount'"),
        (
            'steps: [ { name: account, endpoint: "/a/{risk}" }, { name: risk, depends_on: [account] } ]',
            "4:10",
            "cycle",
            "the steps",
        ),
        ("args: { id: ID! }", "4:1", "unknown-key", "unknown key 'args'"),
        ("aggregation: { strategy: pick }", "4:16", "unknown-key", "unknown key 'strategy'"),
        ("aggregation: { required_steps: [rsk] }", "4:33", "unknown-step", "unknown step 'rsk'; did you mean 'risk'?"),
    ],
)
def test_a_mistake_is_reported_where_the_overlay_makes_it(written: str, place: str, code: str, message: str) -> None:
    lines = {"overlay": "gold", "when": "{ tenant: gold }", "operation": "customer"}
    key, _, value = written.partition(": ")
    text = "".join(f"{name}: {setting}\n" for name, setting in {**lines, key: value}.items())
    (problem,) = problems(text)
    assert str(problem.place) == f"overlays.yaml:{place}"
    assert problem.subject.startswith("overlay gold")
    assert problem.code == code
    assert problem.message.startswith(message)


def overlay(name: str, written: str, when: str = "{ tenant: gold }") -> str:
    return f"overlay: {name}\nwhen: {when}\noperation: customer\n{written}\n"


@pytest.mark.parametrize(
    ("first", "second", "code", "message"),
    [
        (
            'steps: [ { name: account, endpoint: "/a/{risk.score}" } ]',
            "steps: [ { name: risk, depends_on: [account] } ]",
            "cycle",
            "with all overlays the steps wait for each other: account → risk → account",
        ),
        (
            "steps: [ { name: extra, type: api, endpoint: /x } ]",
            "steps: [ { name: extra, type: value, value: 1 } ]",
            "type-conflict",
            "another overlay adds the step 'extra' with the type 'api', not 'value'; rename one",
        ),
        (
            "steps: [ { name: extra, type: api, endpoint: /x } ]",
            "steps: [ { name: other, as: extra, type: api, endpoint: /y } ]",
            "type-conflict",
            "another overlay fills the field 'extra' with 'JSON' of the step 'extra'; give it the same step and type",
        ),
        (
            'steps: [ { name: risk, query: "SELECT 1 WHERE 1 = :a", params: { a: 1 } } ]',
            'steps: [ { name: risk, query: "SELECT 1 WHERE 1 = :b", params: { b: 1 } } ]',
            "unused-parameter",
            "",
        ),
    ],
)
def test_overlays_that_are_sound_alone_may_contradict_each_other(first: str, second: str, code: str, message: str) -> None:
    (problem,) = problems(f"{overlay('one', first)}---\n{overlay('two', second)}")
    assert problem.code == code, problem
    assert problem.message.startswith(message)
    assert problem.subject.startswith("overlay two")


class Narrow(Value):
    """A step type with keys that two overlays can change, but not three together."""

    def check(self, keys: ValueKeys, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        if len(keys.value) > 2:
            yield KeyProblem("value", "too many", "too-many")


@pytest.mark.parametrize(("tenant", "also_gold"), [("gold", True), ("silver", False)])
def test_three_overlays_may_contradict_each_other_only_together(tenant: str, also_gold: bool) -> None:
    base = "operation: customer\nargs: {}\nsteps: [ { name: risk, type: value, value: {} } ]\n"
    whens = ("{ tenant: [gold, silver] }", "{ flags: x }", f"{{ tenant: {tenant}, flags: [x, y] }}", "{ tenant: gold }")
    written = "---\n".join(
        overlay(name, f"steps: [ {{ name: risk, value: {{ {name}: 1 }} }} ]", when)
        for name, when in zip("abcd", whens, strict=True)
    )
    with pytest.raises(ConfigurationError) as refused:
        load(written, base, step_types={**STEP_TYPES, "value": Narrow()})
    reported = [(problem.subject, problem.message) for problem in refused.value.problems]
    first = (
        "overlay d · operation customer · step risk · value",
        "too many; together with 'a' (overlays.yaml:1:1), 'b' (overlays.yaml:6:1)",
    )
    assert first in reported
    assert (len(reported) == 4) is also_gold


def test_a_fallback_to_an_older_value_contradicts_another_overlays_post() -> None:
    base = 'operation: customer\nargs: {}\nsteps: [ { name: risk, type: api, endpoint: "/x" } ]\n'
    first = overlay("one", "steps: [ { name: risk, fallback: [ { stale_ms: 5 } ] } ]")
    second = overlay("two", "steps: [ { name: risk, method: POST } ]", "{ flags: x }")
    (problem,) = problems(f"{first}---\n{second}", base)
    assert (problem.code, str(problem.place)) == ("stale-not-idempotent", "overlays.yaml:4:48")
    assert problem.message.endswith("; together with 'one' (overlays.yaml:1:1)")


def test_two_overlays_that_can_never_match_together_may_contradict_each_other() -> None:
    first = overlay("one", 'steps: [ { name: risk, query: "SELECT 1 WHERE 1 = :a", params: { a: 1 } } ]')
    second = overlay("two", 'steps: [ { name: risk, query: "SELECT 1 WHERE 1 = :b", params: { b: 1 } } ]', "{ tenant: silver }")
    assert len(load(f"{first}---\n{second}").overlays) == 2


def test_a_field_that_only_an_overlay_fills_may_be_null() -> None:
    types = TYPES.replace("disputes: [Dispute!]", "disputes: [Dispute!]!")
    (problem,) = problems(GOLD, types=types)
    assert (str(problem.place), problem.code) == ("overlays.yaml:7:5", "type-conflict")
    assert load(GOLD, types=TYPES).operations["customer"].overlay_fields["disputes"].returns == "[Dispute!]"


def test_context_mistakes_are_reported_where_they_are() -> None:
    context = 'context:\n  tenant: request.hedders."x-t"\n  other: reqest.id\n  bad: "request."\n  upper: request.headers."X-T"\n'
    wrong = problems(context)
    assert [(str(problem.place), problem.code) for problem in wrong] == [
        ("overlays.yaml:2:11", "unknown-reference"),
        ("overlays.yaml:3:10", "unknown-reference"),
        ("overlays.yaml:4:8", "bad-expression"),
        ("overlays.yaml:5:10", "unknown-reference"),
        ("sources.yaml:7:3", "duplicate-name"),
    ]


@pytest.mark.parametrize(
    "written", ['endpoint: "/a/{context.tenat}"', "endpoint: /a, when: context.tenat", "endpoint: /a, when: '@'"]
)
def test_a_step_refers_to_context_keys_that_there_are(written: str) -> None:
    base = f"operation: customer\nargs: {{}}\nsteps: [ {{ name: account, type: api, {written} }} ]\n"
    (problem,) = problems("", base)
    assert problem.code == "unknown-reference"
    assert problem.message in {"unknown context key 'tenat'; did you mean 'tenant'?", "'@' reads everything; name what is needed"}


# -- at run time


def many_overlays(count: int) -> str:
    return "---\n".join(overlay(f"set{n}", f"deadline_ms: {n + 1}", f"{{ tenant: [{tenants(n, count)}] }}") for n in range(count))


def tenants(n: int, count: int) -> str:
    return ", ".join(f"t{tenant}" for tenant in range(n, 10_000, count))


def test_ten_thousand_tenants_with_twenty_sets_make_twenty_operations() -> None:
    blueprint = load(many_overlays(20))
    compiled: Counter[object] = Counter()

    def counted(name: str, positions: tuple[int, ...]) -> Operation:
        compiled[name, positions] += 1
        return blueprint.effective(name, positions)

    overlays = Overlays(replace(blueprint, effective=counted))
    requests = [RequestContext("test", {"x-tenant": f"t{tenant}"}, 0) for tenant in range(10_000)]
    blueprints = [overlays.resolve(request)[1] for request in requests]
    assert len(compiled) == sum(compiled.values()) == 20
    assert len({id(effective) for effective in blueprints}) == 20
    assert [round(effective.operations["customer"].deadline * 1000) for effective in blueprints[:40]] == [*range(1, 21)] * 2
    microseconds = 500  # about 20 on the development machine
    enough = microseconds * len(requests) / 1e6
    assert least_cpu_seconds(lambda: [overlays.resolve(request) for request in requests], enough) < enough


def test_a_mistake_that_an_overlay_makes_of_the_base_stands_where_the_base_has_it() -> None:
    base = """\
operation: customer
args: { id: ID! }
steps:
  - { name: account, type: api, method: POST, endpoint: "/accounts/{id}", body: { id: 1 } }
"""
    (problem,) = problems(overlay("gold", "steps: [ { name: account, method: GET } ]"), base)
    assert (str(problem.place), problem.code) == ("base.yaml:4:81", "unused-key")


def test_nothing_leaks_between_tenants_that_ask_at_the_same_time() -> None:
    base = 'operation: customer\nargs: { id: ID! }\nsteps: [ { name: account, type: api, endpoint: "/{context.tenant}/{id}" } ]\n'
    overlays = overlay("gold", 'steps: [ { name: secret, type: api, endpoint: "/{context.tenant}/secret" } ]')
    delays = {"gold": 30, "silver": 10, "bronze": 20}
    script = {f"GET /{tenant}/1": {"json": tenant, "delay": delay, "times": 50} for tenant, delay in delays.items()}
    upstreams = Upstreams({**script, "GET /gold/secret": {"json": "for gold", "times": 50}})
    step_types = {**STEP_TYPES, "api": Api(upstreams.transports)}
    blueprint = load(overlays, base, step_types=step_types)
    order = list(delays) * 50

    async def ask() -> list[Any]:
        async with open_generation(blueprint, step_types) as generation:
            contexts = [RequestContext("r", {"x-tenant": tenant}, asyncio.get_running_loop().time()) for tenant in order]
            query = GraphQLRequest("{ customer(id: 1) { account secret } }")
            return await asyncio.gather(*(generation.answer(query, context) for context in contexts))

    answers = run(ask())
    expected = [{"account": tenant, "secret": "for gold" if tenant == "gold" else None} for tenant in order]
    assert [answer["data"]["customer"] for answer in answers] == expected
    assert upstreams.complaints() == []


def test_an_overlay_does_not_make_plans_of_documents_that_it_does_not_touch() -> None:
    blueprint = load(many_overlays(3), f"{BASE}---\noperation: other\nsteps: [ {{ name: one, type: value, value: 1 }} ]\n")

    async def count(query: str) -> int:
        async with open_generation(blueprint, STEP_TYPES) as generation:
            long_to_go = asyncio.get_running_loop().time() + 10
            for tenant in range(3):
                await generation.answer(GraphQLRequest(query), RequestContext("r", {"x-tenant": f"t{tenant}"}, long_to_go))
            return len(generation.plans.cached_plans(generation.read(query).definitions[0]))

    assert asyncio.run(count("{ other { one } }")) == 1
    assert asyncio.run(count("{ customer(id: 1) { __typename } }")) == 3


class CountedExpression(Expression):
    """An expression that counts its evaluations."""

    evaluated: Counter[str] = Counter()

    def search(self, value: object, work: int = MAX_INLINE) -> object:
        self.evaluated[self.text] += 1
        return super().search(value, work)


CONTEXT = f"""\
sources: {{ core: {{ type: api, base_url: {BASE_URL} }} }}
defaults: {{ api: core }}
---
context:
  tenant: request.headers."x-tenant"
  flags: request.headers."x-flags"
  region: request.headers."x-region" || 'eu'
---
operation: customer
steps: [ {{ name: tier, type: value, value: base }} ]
---
operation: other
steps: [ {{ name: one, type: api, endpoint: /one }} ]
---
operation: told
steps: [ {{ name: tenant, type: value, value: "{{context.tenant}}" }} ]
---
overlay: gold
when: {{ tenant: gold }}
operation: customer
steps: [ {{ name: tier, value: gold }} ]
"""
LIMITED = "---\nserver: { rate_limits: [ { key: context.tenant, limit: 100/second } ] }\n"


@pytest.mark.parametrize(
    ("query", "config", "times"),
    [
        ("{ other { one } }", CONTEXT, 0),
        ("{ __typename }", CONTEXT, 0),
        ("{ customer { tier } }", CONTEXT, 1),
        ("{ told { tenant } }", CONTEXT, 1),
        ("{ customer { tier } told { tenant } other { one } }", CONTEXT, 1),
        ("{ other { one } }", CONTEXT + LIMITED, 1),
        ("{ customer { tier } }", CONTEXT + LIMITED, 1),
    ],
)
def test_context_values_are_evaluated_once_and_only_where_something_depends_on_them(query: str, config: str, times: int) -> None:
    upstreams = Upstreams({"GET /one": {"json": 1}} if "one" in query else {})
    step_types = {**STEP_TYPES, "api": Api(upstreams.transports)}
    blueprint = build(Files(Path(), {"a.yaml": config}, (), "test"), step_types, {})
    counted = {
        name: CountedExpression(expression.text, expression.paths, expression.tree)
        for name, expression in blueprint.context.items()
    }

    async def ask() -> bytes:
        async with open_generation(replace(blueprint, context=counted), step_types) as generation:
            endpoint = GraphQLEndpoint(lambda: generation, is_development=False)
            headers = {"content-type": "application/json", "x-tenant": "gold"}
            now = asyncio.get_running_loop().time()
            result = endpoint.begin(HttpMessage("POST", b"", headers, json.dumps({"query": query}).encode(), "r", now))
            return (result if isinstance(result, HttpResponse) else await result()).body

    CountedExpression.evaluated.clear()
    assert b"errors" not in run(ask())
    assert [CountedExpression.evaluated[expression.text] for expression in counted.values()] == [times] * 3


def test_what_the_schema_adds_to_declared_types_is_no_step_that_an_overlay_has_to_fill() -> None:
    """Effective operations are built after the schema, which puts links and the fields of steps into the types of the SDL."""
    base = """\
operation: customer
args: { id: ID! }
steps:
  - { name: account, type: value, value: { name: Ada }, returns: Account }
  - { name: risk, type: value, value: { score: 3 }, returns: Risk }
aggregation: { strategy: flatten }
---
field: Account.extra
returns: JSON
step: { type: api, endpoint: "/x/{parent.name}" }
"""
    links = base + base[base.index("---") :].replace("Account.extra", "Risk.extra").replace("parent.name", "parent.score")
    types = "type Customer { name: String }\ntype Account { name: String }\ntype Risk { score: Int }\ntype More { more: Int }\n"
    gold = overlay("gold", "steps: [ { name: more, type: value, value: { more: 5 }, returns: More } ]")
    blueprint = load(f"{gold}---\n{overlay('silver', 'deadline_ms: 500', '{ tenant: silver }')}", links, types)

    async def ask(tenant: str) -> Any:
        async with open_generation(blueprint, STEP_TYPES) as generation:
            context = RequestContext("r", {"x-tenant": tenant}, asyncio.get_running_loop().time())
            return (await generation.answer(GraphQLRequest("{ customer(id: 1) { name score more } }"), context))["data"]

    assert asyncio.run(ask("gold")) == {"customer": {"name": "Ada", "score": 3, "more": 5}}
    assert asyncio.run(ask("silver")) == {"customer": {"name": "Ada", "score": 3, "more": None}}


def test_a_set_of_overlays_that_is_not_sound_is_refused_and_not_served() -> None:
    overlays = Overlays(load(GOLD))

    def unsound(name: str, positions: tuple[int, ...]) -> Operation:
        raise ConfigurationError([])

    broken = Overlays(replace(load(GOLD), effective=unsound))
    assert overlays.effective((0,)).operations["customer"].deadline == 0.8
    with pytest.raises(RequestError) as refused:
        broken.effective((0,))
    assert refused.value.status == 500


# -- commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"base.yaml": BASE, "gold.yaml": GOLD, "sources.yaml": SOURCES}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_plan_shows_the_effective_operation_and_which_overlay_line_won(folder: Path) -> None:
    command = ["plan", str(folder), "-", "--context", "tenant=gold"]
    result = CliRunner().invoke(command_line(), command, input="{ customer(id: 1) { risk disputes } }")
    assert result.exit_code == 0
    assert "300 ms" in result.stdout
    assert "GET /disputes/{id}" in result.stdout
    assert f"  customer.risk.timeout_ms = 300                         {folder}/gold.yaml:6  overlay gold" in result.stdout
    plain = CliRunner().invoke(command_line(), command[:3], input="{ customer(id: 1) { risk disputes } }")
    assert "not applicable: disputes" in plain.stdout
    assert "gold.yaml" not in plain.stdout


@pytest.mark.parametrize(("given", "message"), [("tennant=gold", "did you mean 'tenant'?"), ("tenant", "KEY=VALUE")])
def test_plan_refuses_context_that_there_is_not(folder: Path, given: str, message: str) -> None:
    result = CliRunner().invoke(
        command_line(), ["plan", str(folder), "-", "--context", given], input="{ customer(id: 1) { risk } }"
    )
    assert result.exit_code == 1
    assert message in result.stderr


def test_check_lists_overlays(folder: Path) -> None:
    result = CliRunner().invoke(command_line(), ["check", str(folder)])
    assert result.exit_code == 0
    assert "tenant: gold" in result.stdout
    assert "risk.timeout_ms" in "".join(result.stdout.split())
