"""A seed → a random case: types, operations over steps, a document with its variables, and how every step ended.

Values fit their types most of the time; what is wrong with the others is what upstreams get wrong. A world has its types twice: beside
the configuration and, for graphql-core, with the composites and root fields that the gateway has to make of it by itself.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLType,
    build_schema,
    is_abstract_type,
    parse_type,
    type_from_ast,
)

from gateway.errors import Code
from gateway.outcome import Failure, Outcome, Reason, Skipped, Success
from tests.oracle.documents import draw_document

VARIANTS = 2
"""How many ways the steps of an operation end, by its arguments."""
LEAVES = ("ID", "String", "Int", "Float", "Boolean", "JSON", "Opaque", "Color")
FITTING: Mapping[str, Sequence[object]] = {
    "ID": ("a1", "", 7, "7"),
    "String": ("text", "", 'quo"te', "5", 12, True),
    "Int": (0, 1, -5, 2147483647, -2147483648, "5", 3.0),
    "Float": (0.0, 1.5, -2.25, 1e300, 3, "2.5"),
    "Boolean": (True, False, 1, 0),
    "JSON": ({"any": [1, None]}, [1], "x", 3, False, 0),
    "Opaque": ("2026-01-31", 5, {"y": 1}),
    "Color": ("RED", "GREEN", "BLUE"),
}
WRONG: Sequence[object] = (
    *(None, "x", "5", "", "true", "RED", "PINK", 5, -1, 2147483648, -2147483649, 2**40, 10**400, 1.5, 2.0, True, False),
    *([], [1], [None], [["x"]], {}, {"a": 1}, {"__typename": "Nope"}, {"__typename": "T0"}),
)
NOT_FINITE: Sequence[object] = (float("inf"), float("-inf"), float("nan"))
CODES = (Code.GATEWAY_TIMEOUT, Code.SUBREQUEST_HTTP_ERROR, Code.SUBREQUEST_MALFORMED_RESPONSE, Code.BAD_USER_INPUT)


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step: its keys in YAML, and the type that it has at last."""

    keys: Mapping[str, Any]
    returns: str

    @property
    def name(self) -> str:
        name: str = self.keys["name"]
        return name

    @property
    def field(self) -> str:
        field: str = self.keys.get("as", self.name)
        return field


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """An operation; ``origins`` maps the fields of its composite to a step, and for `flatten` to a key of its object."""

    name: str
    arguments: Mapping[str, str]
    strategy: str
    steps: Sequence[StepSpec]
    origins: Mapping[str, tuple[str, str | None]]

    @property
    def config(self) -> str:
        """The YAML document, as JSON."""
        aggregation = {"strategy": self.strategy, **({"step": self.steps[0].name} if self.strategy == "pick" else {})}
        document = {"operation": self.name, "args": dict(self.arguments), "aggregation": aggregation}
        return json.dumps({**document, "steps": [dict(step.keys) for step in self.steps]})


@dataclass(frozen=True, slots=True)
class World:
    """What several documents are asked of: ``types`` stand beside the configuration, ``schema`` is what clients are to see."""

    types: str
    schema: str
    operations: Mapping[str, OperationSpec]

    @property
    def config(self) -> str:
        """The configuration."""
        return "\n---\n".join(operation.config for operation in self.operations.values())


@dataclass(frozen=True, slots=True)
class Case:
    """A document over a world; how steps end and which required failure blocks an operation, by the variant of its arguments."""

    world: World
    query: str
    variables: Mapping[str, object]
    outcomes: Mapping[tuple[str, str], Sequence[Outcome]]
    blocked: Mapping[str, Sequence[Failure | None]]


# -- types and operations


def make_world(seed: int) -> World:
    """Make types and operations."""
    random = Random(seed)
    types = _Types(random)
    operations = [_operation(random, types, index) for index in range(random.randint(1, 3))]
    fields = [f"  {operation.name}{_signature(operation)}: {_root_type(operation)}" for operation in operations]
    composites = [_composite(operation, types) for operation in operations if _composite_name(operation) not in types.texts]
    schema = [*types.texts.values(), *composites, "type Query {\n" + "\n".join(fields) + "\n}"]
    return World("\n".join(types.texts.values()), "\n".join(schema), {operation.name: operation for operation in operations})


class _Types:
    """Random named types as SDL; ``fields`` has those of the object types."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.texts = {"Color": "enum Color { RED GREEN BLUE }", "JSON": "scalar JSON", "Opaque": "scalar Opaque"}
        self.fields: dict[str, dict[str, str]] = {}
        self.objects = [f"T{index}" for index in range(random.randint(2, 5))]
        interfaces = [f"I{index}" for index in range(random.randint(0, 2))]
        unions = [f"U{index}" for index in range(random.randint(0, 2))]
        self.composites = [*self.objects, *interfaces, *unions]
        usual = {name: self.draw() for name in "abcdef"}
        shared = {interface: {f"{interface.lower()}{name}": self.draw() for name in "xy"} for interface in interfaces}
        for interface in interfaces:
            self.texts[interface] = f"interface {interface} {_fields(shared[interface])}"
        for name in self.objects:
            own = {field: usual[field] if random.random() < 0.7 else self.draw() for field in random.sample("abcdef", 4)}
            chosen = [interface for interface in interfaces if random.random() < 0.6]
            for interface in chosen:
                own |= {field: self.narrowed(text) for field, text in shared[interface].items()}
            self.add(name, own, chosen)
        for union in unions:
            self.texts[union] = f"union {union} = {' | '.join(random.sample(self.objects, random.randint(1, len(self.objects))))}"

    def add(self, name: str, fields: dict[str, str], interfaces: Sequence[str] = ()) -> None:
        self.fields[name] = fields
        implements = f" implements {' & '.join(interfaces)}" if interfaces else ""
        self.texts[name] = f"type {name}{implements} {_fields(fields)}"

    def draw(self) -> str:
        """Draw a type: now and then a list, or a list of lists, with or without null at every level."""
        text = self.random.choice(LEAVES if self.random.random() < 0.5 else self.composites)
        for _ in range(self.random.choices((0, 1, 2, 3), (60, 27, 10, 3))[0]):
            text = f"[{text}{self.random.choice(('', '', '', '!'))}]"
        return text + self.random.choice(("", "", "", "!"))

    def narrowed(self, text: str) -> str:
        """Return what an implementing type may have instead of an interface's type: the same without null."""
        return text if text.endswith("!") or self.random.random() < 0.7 else f"{text}!"


def _fields(fields: Mapping[str, str]) -> str:
    return "{\n" + "".join(f"  {name}: {text}\n" for name, text in fields.items()) + "}"


def _operation(random: Random, types: _Types, index: int) -> OperationSpec:
    name = f"op{index}"
    possible = {"id": "ID", "n": "Int!", "on": "Boolean", "tint": "Color"}
    arguments = {argument: possible[argument] for argument in random.sample(sorted(possible), random.randint(0, 2))}
    strategy = random.choice(("merge", "merge", "flatten", "pick"))
    steps: list[StepSpec] = []
    for number in range(random.randint(1, 4)):
        steps += _step(random, types, f"s{index}{number}", strategy, [step.name for step in steps])
    origins: dict[str, tuple[str, str | None]] = {}
    for step in steps if strategy != "pick" else ():
        if step.keys.get("expose", True):
            keys = types.fields[step.returns.rstrip("!")] if strategy == "flatten" else {}
            origins |= {key: (step.name, key) for key in keys} if keys else {step.field: (step.name, None)}
    operation = OperationSpec(name, arguments, strategy, steps, origins)
    if strategy == "merge" and random.random() < 0.3:
        types.texts[_composite_name(operation)] = _composite(operation, types)
    return operation


def _step(random: Random, types: _Types, name: str, strategy: str, before: Sequence[str]) -> list[StepSpec]:
    """Make a step, and now and then one that only stands in for it."""
    returns = types.draw()
    if strategy == "flatten":
        returns = f"F{name}{random.choice(('', '!'))}"
        types.add(returns.rstrip("!"), {f"{name}{field}": types.draw() for field in "pqr"})
    keys: dict[str, Any] = {"name": name, "type": "act", "returns": returns}
    if random.random() < 0.2:
        keys["as"] = f"{name}Field"
    if before and random.random() < 0.3:
        keys["depends_on"] = [random.choice(before)]
    if before and random.random() < 0.15:
        keys["expose"] = False
    if random.random() > 0.15:
        return [StepSpec(keys, returns)]
    stand_in = StepSpec({"name": f"{name}Else", "type": "act", "returns": returns, "expose": False}, returns)
    return [StepSpec({**keys, "fallback": [{"step": stand_in.name}]}, returns), stand_in]


def _composite_name(operation: OperationSpec) -> str:
    return operation.name.capitalize()


def _composite(operation: OperationSpec, types: _Types) -> str:
    if operation.strategy == "pick":
        return ""
    returns = {step.name: step.returns for step in operation.steps}
    fields = {
        field: types.fields[returns[step].rstrip("!")][key] if key else returns[step]
        for field, (step, key) in operation.origins.items()
    }
    return f"type {_composite_name(operation)} {_fields(fields)}"


def _signature(operation: OperationSpec) -> str:
    texts = ", ".join(f"{name}: {text}" for name, text in operation.arguments.items())
    return f"({texts})" if texts else ""


def _root_type(operation: OperationSpec) -> str:
    return operation.steps[0].returns.removesuffix("!") if operation.strategy == "pick" else _composite_name(operation)


# -- values and outcomes


@dataclass(frozen=True, slots=True)
class _Values:
    """Draws values; ``names`` are the fields worth having, ``rate`` of what is drawn does not fit."""

    random: Random
    schema: GraphQLSchema
    names: frozenset[str]
    rate: float
    fitting: Mapping[str, Sequence[object]]

    def draw(self, wanted: GraphQLType, depth: int = 6) -> object:
        is_strict = isinstance(wanted, GraphQLNonNull)
        inner = wanted.of_type if isinstance(wanted, GraphQLNonNull) else wanted
        if self.random.random() < self.rate:
            return self.random.choice(WRONG)
        if not is_strict and (self.random.random() < 0.04 or depth == 0):
            return None
        if isinstance(inner, GraphQLList):
            return [self.draw(inner.of_type, depth - 1) for _ in range(self.random.choice((0, 1, 2, 2, 3)) if depth > 0 else 0)]
        if isinstance(inner, GraphQLScalarType | GraphQLEnumType):
            return self.random.choice(self.fitting[inner.name])
        return self.object(inner, depth)

    def object(self, declared: GraphQLType, depth: int) -> object:
        tag: object = None
        if is_abstract_type(declared):
            possible = self.schema.get_possible_types(declared)
            if not possible:
                return {"__typename": "Nope"}
            declared = self.random.choice(possible)
            tag = declared.name
            if self.random.random() < self.rate:
                tag = self.random.choice(("Nope", "T0", "I0", "", 5, None, ["T0"], {"T0": 1}))
        assert isinstance(declared, GraphQLObjectType)
        fields = {name: field for name, field in declared.fields.items() if name in self.names and depth > 0}
        value = {
            name: self.draw(field.type, depth - 1) for name, field in fields.items() if self.random.random() >= self.rate / 2
        }
        return value if tag is None else {**value, "__typename": tag}


def _failure(random: Random, step: str) -> Failure:
    return Failure(step, random.choice(CODES), f"'{step}' failed.", random.choice((None, 503)))


def _outcome(random: Random, values: _Values, step: StepSpec, names: Sequence[str]) -> Outcome:
    end = random.random()
    if end < 0.84:
        returned = type_from_ast(values.schema, parse_type(step.returns))
        return Success(values.draw(returned) if returned else None)  # a type that only a hidden step has is not in the schema
    if end < 0.92:
        return _failure(random, step.name)
    cause = _failure(random, random.choice(names)) if end > 0.96 else None
    return Skipped(random.choice((Reason.CONDITION, Reason.MISSING_INPUT)), cause)


@lru_cache(maxsize=4)
def _world(seed: int) -> tuple[World, GraphQLSchema]:
    world = make_world(seed)
    return world, build_schema(world.schema)


@lru_cache(maxsize=4)
def _document(seed: int) -> tuple[str, dict[str, object]]:
    return draw_document(Random(seed), _world(seed // 4)[1])


def make_case(seed: int, fitting: Mapping[str, Sequence[object]] = FITTING) -> Case:
    """Make a case, whose leaves are drawn of ``fitting`` by type unless they are wrong.

    Seeds beside each other share a document, or at least a world, which saves half of the time.
    """
    world, schema = _world(seed // 8)
    query, variables = _document(seed // 2)
    random = Random(seed)
    values = _Values(random, schema, frozenset(re.findall(r"\w+", query)), random.choice((0.0, 0.03, 0.12)), fitting)
    outcomes: dict[tuple[str, str], list[Outcome]] = {}
    blocked: dict[str, list[Failure | None]] = {}
    for operation in world.operations.values():
        names = [step.name for step in operation.steps]
        for step in operation.steps:
            outcomes[operation.name, step.name] = [_outcome(random, values, step, names) for _ in range(VARIANTS)]
        ends = [_failure(random, random.choice(names)) if random.random() < 0.03 else None for _ in range(VARIANTS)]
        blocked[operation.name] = ends
    return Case(world, query, variables, outcomes, blocked)
