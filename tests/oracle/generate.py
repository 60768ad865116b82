"""Draw a random case from a seed: a world, a document with variables, the results of all calls, and request headers.

Values fit their types most of the time; the others have the mistakes that real upstreams make.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random

from graphql import (
    FieldNode,
    GraphQLEnumType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLType,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    build_schema,
    is_abstract_type,
    parse,
    parse_type,
    type_from_ast,
    visit,
)

from gateway.contract.outcome import Failure, Success
from gateway.errors import Code
from tests.oracle.documents import draw_document
from tests.oracle.specs import LinkSpec, World
from tests.oracle.worlds import make_world

MAX_VALUES = 120
VARIANTS = 2
"""How many different results a step has, chosen by the arguments of its operation."""
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
CODES = (Code.GATEWAY_TIMEOUT, Code.SUBREQUEST_HTTP_ERROR, Code.SUBREQUEST_MALFORMED_RESPONSE, Code.DOWNSTREAM_SERVICE_ERROR)


CallResult = Success | Failure
RowKey = tuple[str | None, ...]
"""A step and the variant of its arguments; or a link and its arguments as JSON, followed by the texts of a key (none: all its calls)."""


class Rows(dict[RowKey, CallResult]):
    """The results of steps and links, drawn at the first access; null without a ``draw`` function."""

    def __init__(self, known: Mapping[RowKey, CallResult], draw: Callable[[RowKey], CallResult] | None = None) -> None:
        super().__init__(known)
        self._draw = draw

    def __missing__(self, key: RowKey) -> CallResult:
        self[key] = self._draw(key) if self._draw else Success(None)
        return self[key]


@dataclass(frozen=True, slots=True)
class Case:
    """A document over a world, its variables, the request headers, and the results of steps and links."""

    world: World
    query: str
    variables: Mapping[str, object]
    headers: Mapping[str, str]
    rows: Rows


# -- values


@dataclass(frozen=True, slots=True)
class _Values:
    """Draws values. ``wanted`` are the types and fields that objects get; ``rate`` is the share of values that do not fit their type."""

    random: Random
    schema: GraphQLSchema
    wanted: frozenset[tuple[str, str]]
    rate: float
    fitting: Mapping[str, Sequence[object]]
    budget: list[int]
    """How many more values one call may contain."""

    def draw(self, wanted: GraphQLType, depth: int = 6) -> object:
        self.budget[0] -= 1
        depth = depth if self.budget[0] > 0 else 0
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
        wanted = {(declared.name, name) for name in declared.fields} & self.wanted if depth > 0 else set()
        fields = {name: field for name, field in declared.fields.items() if (declared.name, name) in wanted}
        value = {
            name: self.draw(field.type, depth - 1) for name, field in fields.items() if self.random.random() >= self.rate / 2
        }
        return value if tag is None else {**value, "__typename": tag}


def _failure(random: Random, step: str) -> Failure:
    return Failure(step, random.choice(CODES), f"'{step}' failed.", random.choice((None, 503)))


def _draw_result(random: Random, values: _Values, name: str, returns: str) -> CallResult:
    if random.random() < 0.09:
        return _failure(random, name)
    returned = type_from_ast(values.schema, parse_type(returns))
    return Success(values.draw(returned) if returned else None)  # a type that only a hidden step has is not in the schema


@dataclass(frozen=True, slots=True)
class _ResultSource:
    """Draws the results of steps and links: the same for the same call, whenever it is made."""

    seed: int
    returns: Mapping[str, str]
    """The types of steps, by name."""
    links: Mapping[str, LinkSpec]
    values: _Values

    def draw(self, key: RowKey) -> CallResult:
        random = Random(f"{self.seed} {key}")
        name, _, *texts = key
        assert name is not None
        values = replace(self.values, random=random, budget=[MAX_VALUES])
        if name in self.returns:
            return _draw_result(random, values, name, self.returns[name])
        link, end = self.links[name], random.random()
        if not texts:
            return _failure(random, name) if end < 0.04 else Success(random.choice(WRONG) if end < 0.06 else None)
        if not link.match:
            return _draw_result(random, values, name, link.returns)
        if end < 0.05:
            return _failure(random, name) if end < 0.03 else Success(random.choice(WRONG))
        return Success([self.item(values, link, texts) for _ in range(random.choice((0, 1, 1, 1, 2, 3)))])

    def item(self, values: _Values, link: LinkSpec, texts: Sequence[str | None]) -> object:
        """Draw one item of a batch; sometimes for a key that was not requested, or for no key."""
        item = values.draw(GraphQLNonNull(values.schema.type_map[link.returns.strip("[]!")]))  # type: ignore[type-var]
        if not isinstance(item, dict):
            return item
        matches = {}
        for field, text in zip(link.match, texts, strict=True):
            assert text is not None
            is_astray = values.random.random() < 0.05
            matches[field] = (
                values.random.choice((None, "unasked", {}, "")) if is_astray else _maybe_as_number(text, values.random)
            )
        return {**item, **matches}


def _maybe_as_number(text: str, random: Random) -> object:
    """Return a text, or sometimes the number that an upstream may write for it."""
    return int(text) if re.fullmatch(r"0|-?[1-9]\d*", text) and random.random() < 0.5 else text


@lru_cache(maxsize=4)
def _world(seed: int) -> tuple[World, GraphQLSchema]:
    world = make_world(seed)
    return world, build_schema(world.schema)


@lru_cache(maxsize=4)
def _document(seed: int) -> tuple[str, dict[str, object], frozenset[tuple[str, str]]]:
    """Return a document, its variables, and the types and fields that it reads."""
    world, schema = _world(seed // 3)
    query, variables = draw_document(Random(seed), schema)
    selected = _SelectedFields(schema)
    visit(parse(query), TypeInfoVisitor(selected.type_info, selected))
    wanted = selected.found - world.links.keys()
    for link in world.links.values():
        # A link reads key fields of its parent that the document need not select.
        if (link.type, link.field) in selected.found:
            wanted |= {(name, part) for path in link.key for name in schema.type_map for part in re.findall(r"\w+", path)}
    for operation in world.operations.values():
        taken = [(operation.steps[step].returns.rstrip("!"), key) for step, key in operation.origins.values() if key]
        wanted |= {(name, key) for name, key in taken if (operation.name.capitalize(), key) in selected.found}
    return query, variables, frozenset(wanted)


class _SelectedFields(Visitor):
    """Collects the fields that a document selects of each object type."""

    def __init__(self, schema: GraphQLSchema) -> None:
        super().__init__()
        self.schema = schema
        self.type_info = TypeInfo(schema)
        self.found: set[tuple[str, str]] = set()

    def enter_field(self, node: FieldNode, *_: object) -> None:
        parent = self.type_info.get_parent_type()
        assert parent is not None
        concrete = self.schema.get_possible_types(parent) if is_abstract_type(parent) else [parent]
        self.found |= {(found.name, node.name.value) for found in concrete}


def make_case(seed: int, fitting: Mapping[str, Sequence[object]] = FITTING) -> Case:
    """Draw a case. Leaves are drawn from ``fitting`` by type, except for those that must not fit.

    Neighbouring seeds share a document, or at least a world, which saves two thirds of the time.
    """
    world, schema = _world(seed // 12)
    query, variables, wanted = _document(seed // 4)
    random = Random(seed)
    rate = random.choice((0.0, 0.03, 0.12))
    steps = [step for operation in world.operations.values() for step in operation.steps.values()]
    links = {link.name: link for link in world.links.values()}
    headed = [*(step.name for step in steps if step.gate), *sorted({link.field for link in links.values()})]
    headers = {name: random.choice(("skip", "go")) for name in headed if random.random() < 0.7}
    values = _Values(random, schema, wanted, rate, fitting, [])
    results = _ResultSource(seed, {step.name: step.returns for step in steps}, links, values)
    return Case(world, query, variables, headers, Rows({}, results.draw))
