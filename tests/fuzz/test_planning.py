"""Small documents that cost much: the work from the text to the plan grows with the document and the types, or the document is refused.

Time is not measured: Python reports each call of a function, so the work is a number, which is the same on each machine.
"""

import random
import sys
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from graphql import OperationDefinitionNode, OverlappingFieldsCanBeMergedRule, parse, specified_rules, validate

from gateway.document.coercion import Variables
from gateway.document.selection import Parts, select
from gateway.errors import Code, RequestError
from gateway.load.build.build import load
from gateway.plan.nodes import Plan
from gateway.plan.text import plan_json, plan_text
from gateway.schema.build import build_schema
from gateway.serve.generation.plans import CompiledPlan
from resolvers import STEP_TYPES
from tests.kit.documents import Documents, budget
from tests.kit.serving import write_files

WORLDS, DOCUMENTS = 12, 8
CALLS_PER_WORD, CALLS_PER_UNIT = 300, 50
"""The most calls of functions for each word of a document, and for each step of planning that the configuration allows."""
MAX_UPSTREAM_TEXT = 110_000
SOURCES = {
    "sources.yaml": "sources: { up: { type: graphql, url: http://127.0.0.1:1 } }\ndefaults: { graphql: up }\n",
    "limits.yaml": "limits: { max_aliases: 1000, max_fields: 2000, max_directives: 1000, max_depth: 40 }\n",
}
FIELDS = ("f", "g", "h")
"""The fields of each type that have fields themselves."""


@dataclass(frozen=True, slots=True)
class World:
    """A schema in which every type can be reached from every other."""

    documents: Documents
    types: tuple[str, ...]
    possible: dict[str, tuple[str, ...]]
    """The types of each interface and union."""
    returned: dict[str, str]
    links: dict[str, str]
    """The types of which each link is a field; an interface's are those of its types."""


@lru_cache(maxsize=WORLDS)
def world(seed: int) -> World:
    """Return a random schema, with a step that reads of its service what is asked for, and links."""
    rng = random.Random(seed)
    types = tuple(f"T{number}" for number in range(rng.choice([2, 5, 12, 20])))
    interfaces = tuple(f"I{number}" for number in range(rng.choice([1, 2, 3])))
    unions = tuple(f"U{number}" for number in range(rng.choice([0, 1, 2])))
    returned = {field: rng.choice([*interfaces, *unions, types[0]]) for field in FIELDS}
    fields = "id: Int s: String " + " ".join(
        f"{field}: {rng.choice(['{}', '[{}]', '{}!']).format(target)}" for field, target in returned.items()
    )
    sdl = [f"interface {name} {{ {fields} }}" for name in interfaces]
    sdl += [f"type {name} implements {' & '.join(interfaces)} {{ {fields} own{name}: Int }}" for name in types]
    possible = dict.fromkeys(interfaces, types) | {name: tuple(rng.sample(types, rng.randint(1, len(types)))) for name in unions}
    sdl += [f"union {name} = {' | '.join(possible[name])}" for name in unions]
    links = {f"link{number}": rng.choice([interfaces[0], *types]) for number in range(rng.choice([0, 1, 3]))}
    step = rng.choice(["type: value, value: null", 'type: graphql, query: "{ thing }"'])
    config = [f"operation: start\nsteps: [{{ name: there, {step}, returns: {interfaces[0]} }}]"]
    for link, owner in links.items():
        returned[link] = rng.choice([*interfaces, types[0]])
        batch = rng.choice(["", ", batch: { key: id, match: id }"])
        config.append(
            f"field: {owner}.{link}\nargs: {{ n: Int }}\nreturns: {returned[link]}\n"
            f'step: {{ type: graphql, query: "query ($id: JSON, $n: Int) {{ thing(id: $id, n: $n) }}", '
            f'variables: {{ id: "{"{keys}" if batch else "{parent.id}"}", n: "{{n?}}" }}{batch} }}'
        )
    files = {
        "types.graphql": "\n".join(sdl),
        "graph.yaml": "\n---\n".join(config),
        **SOURCES,
    }
    with TemporaryDirectory() as folder:
        blueprint = load(write_files(Path(folder), files), STEP_TYPES)
    documents = Documents(blueprint, build_schema(blueprint), is_development=False)
    return World(documents, types, possible, returned, links)


@dataclass(slots=True)
class Writer:
    """Writes a document that stays within all limits of its size, and selects as much as that allows of as many types as possible."""

    rng: random.Random
    world: World
    words: int
    fragments: list[str]
    levels: int = 0

    def selection(self, declared: str, level: int) -> str:
        """Return a selection set for a value of a type."""
        self.words -= 1
        rng, is_union = self.rng, declared.startswith("U")
        parts = [rng.choice(["__typename", "__typename" if is_union else "id"])]
        while level < self.levels and self.words > 0 and len(parts) < 9 and rng.random() < 0.8:
            form, possible = rng.randrange(5), self.world.possible.get(declared, ())
            if possible and (is_union or form < 2):
                chosen = rng.sample(possible, rng.randint(1, len(possible)) if form else 1)
                parts += [f"... on {name} {{ {self.fields(name, level)} }}" for name in chosen]
            elif form == 2 and self.fragments and declared.startswith("I"):
                parts.append(f"...{rng.choice(self.fragments)}")
            else:
                parts.append(self.fields(declared, level))
        return " ".join(parts)

    def fields(self, owner: str, level: int) -> str:
        """Return one to three fields of a type, each with a selection."""
        self.words -= 3
        linked = [
            name for name, of in self.world.links.items() if of == owner or (owner in self.world.types and of.startswith("I"))
        ]
        names = [self.rng.choice([*FIELDS, *linked]) for _ in range(self.rng.choice([1, 1, 2]))]
        return " ".join(self.field(name, level) for name in names)

    def field(self, name: str, level: int) -> str:
        """Return a field with its selection. Its key tells its arguments and its type, so that no two fields conflict."""
        number = self.rng.choice(["", "1", "$n"]) if name in self.world.links else ""
        key = self.rng.choice(["", "a"]) if number or name in FIELDS else ""
        alias = f"{key}{name}{number.strip('$')}: " if number or key else ""
        when = self.rng.choice(["", "", "", " @include(if: $c)", " @skip(if: $d)"])
        arguments = f"(n: {number})" if number else ""
        return f"{alias}{name}{arguments}{when} {{ {self.selection(self.world.returned[name], level + 1)} }}"


def document(seed: int, made: World) -> str:
    """Return a random document, with fragments that spread each other."""
    rng = random.Random(seed)
    writer = Writer(rng, made, rng.choice([30, 60, 120, 250]), [], rng.choice([3, 6, 10]))
    fragments = []
    for number in range(rng.choice([0, 2, 5, 9])):
        writer.words += 20
        fragments.append(f"fragment F{number} on I0 {{ {writer.selection('I0', 1)} }}")
        writer.fragments.append(f"F{number}")
    spreads = " ".join(f"...{name}" for name in writer.fragments)
    body = f"{{ start {{ there {{ {writer.selection('I0', 1)} {spreads} }} }} }} {' '.join(fragments)}"
    declared = {"$c": "Boolean!", "$d": "Boolean!", "$n": "Int"}
    variables = ", ".join(f"{name}: {kind}" for name, kind in declared.items() if name in body)
    return f"query{f' ({variables})' if variables else ''} {body}"


class TooMuchWorkError(Exception):
    """More functions were called than the document and the budget allow."""


@contextmanager
def at_most(calls: int) -> Iterator[None]:
    """Let so many functions be called, Python's and C's, and not one more: what is exponential would not end."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}
        if count > calls:
            sys.setprofile(None)
            raise TooMuchWorkError(f"more than {calls} calls")

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def plan_with_texts(documents: Documents, text: str) -> CompiledPlan | Code:
    """Return the plan of a document, of which all texts were made, or the code of the refusal."""
    try:
        definition = documents.read(text).definition(None, is_read_only=False)
        planned = documents.plan(definition, Variables.of_conditions({"c": True, "d": False}))
    except RequestError as error:
        return error.code
    plan_text(planned.plan)
    plan_json(planned.plan)
    return planned


@pytest.mark.case("Q-13", "Q-14")
@pytest.mark.parametrize("seed", range(WORLDS))
def test_planning_takes_work_that_grows_with_the_document_or_is_refused(seed: int) -> None:
    made, codes = world(seed), Counter[str]()
    for number in range(DOCUMENTS):
        text = document(1000 * seed + number, made)
        with at_most(CALLS_PER_WORD * len(text.split()) + CALLS_PER_UNIT * made.documents.blueprint.limits.planning):
            result = plan_with_texts(made.documents, text)
        codes[result if isinstance(result, Code) else "planned"] += 1
        if isinstance(result, CompiledPlan):
            assert_upstream_text_is_whole(made.documents, result.plan)
    assert codes.keys() <= {"planned", Code.QUERY_PLAN_COMPLEXITY_EXCEEDED}


def chain(field: str, levels: int) -> str:
    return f"{field} {{ " * levels + "id" + " }" * levels


def marching(levels: int) -> str:
    """Return a document whose fragments meet in another combination for each sequence of types: 2 to the power of ``levels`` of them."""
    fragments = [
        f"fragment F{level}x{age} on I {{ n{level}x{age}: id "
        + (
            f"c {{ ...F{level + 1}x{age + 1} }}"
            if age
            else f"c {{ ...F{level + 1}x0 }} ... on T0 {{ c {{ ...F{level + 1}x1 }} }}"
        )
        + " }"
        for level in range(levels)
        for age in range(level + 1)
    ]
    ends = [f"fragment F{levels}x{age} on I {{ e{age}: id }}" for age in range(levels + 1)]
    return " ".join(["{ start { there { ...F0x0 } } }", *fragments, *ends])


def on_each_type(types: int, levels: int) -> str:
    fragments = " ".join(f"... on T{number} {{ {chain('c', levels)} }}" for number in range(types))
    return f"{{ start {{ there {{ {fragments} }} }} }}"


KNOWN = {
    "an interface in itself": (20, f"{{ start {{ there {{ {chain('c', 5)} }} }} }}"),
    "few types and many levels": (5, f"{{ start {{ there {{ {chain('c', 12)} }} }} }}"),
    "hundreds of types": (300, f"{{ start {{ there {{ {chain('c', 5)} }} }} }}"),
    "a fragment for each type": (20, on_each_type(20, 3)),
    "a field of one type at each level": (20, "{ start { there { " + "... on T0 { c { id } } c { id " * 10 + "} " * 10 + "} } }"),
    "combinations of fragments": (2, marching(12)),
}


@pytest.mark.case("Q-13", "Q-14")
@pytest.mark.parametrize("step", ["type: value, value: null", 'type: graphql, query: "{ thing }"'], ids=["value", "graphql"])
@pytest.mark.parametrize("links", ["", "T0", "I"])
@pytest.mark.parametrize("known", KNOWN)
def test_documents_that_were_exponential(known: str, links: str, step: str, tmp_path: Path) -> None:
    types, text = KNOWN[known]
    sdl = ["interface I { id: Int c: I }", *(f"type T{number} implements I {{ id: Int c: I }}" for number in range(types))]
    config = [f"operation: start\nsteps: [{{ name: there, {step}, returns: I }}]"]
    if links:
        config.append(
            f"field: {links}.link\nreturns: I\n"
            'step: { type: graphql, query: "query ($id: JSON) { thing(id: $id) }", variables: { id: "{keys}" }, batch: { key: id, match: id } }'
        )
        text = text.replace(" }", " ... on T0 { link { id } } }", 1)
    files = {"types.graphql": "\n".join(sdl), "graph.yaml": "\n---\n".join(config), **SOURCES}
    blueprint = load(write_files(tmp_path, files), STEP_TYPES)
    documents = Documents(blueprint, build_schema(blueprint), is_development=False)
    with at_most(CALLS_PER_WORD * len(text.split()) + CALLS_PER_UNIT * blueprint.limits.planning):
        result = plan_with_texts(documents, text)
    assert isinstance(result, CompiledPlan) or result is Code.QUERY_PLAN_COMPLEXITY_EXCEEDED
    if isinstance(result, CompiledPlan):
        assert_upstream_text_is_whole(documents, result.plan)


def is_within(wanted: Parts, given: Parts, links: Container[tuple[str, str]], seen: set[tuple[int, int]]) -> bool:
    """Tell whether a selection has all fields of another one, at all depths; other steps fill the fields of links."""
    if (id(wanted), id(given)) in seen:
        return True
    seen.add((id(wanted), id(given)))
    for type_name, fields in wanted.items():
        found = {part.name: part for part in given.get(type_name, ())}
        for part in fields:
            if part.name == "__typename" or (type_name, part.name) in links:
                continue
            if part.name not in found or not is_within(part.parts, found[part.name].parts, links, seen):
                return False
    return True


def assert_upstream_text_is_whole(made: Documents, plan: Plan) -> None:
    """Check the texts for services: each is a valid document, and asks for all that the response takes from the value."""
    for root in plan.roots:
        for part in next(iter(root.selected.parts.values())):
            (node,) = (node for node in plan.nodes if node.step.name == part.name)
            if not node.selection:
                continue
            document = parse(f"{{ start {{ there {node.selection} }} }}")
            # graphql-core's own check of overlapping fields takes seconds for such a text.
            rules = [rule for rule in specified_rules if rule is not OverlappingFieldsCanBeMergedRule]
            assert validate(made.schema, document, rules) == []
            definition = document.definitions[0]
            assert isinstance(definition, OperationDefinitionNode)
            (start,) = select(made.schema, document, definition, {}, budget())
            (asked,) = next(iter(start.parts.values()))
            assert is_within(part.parts, asked.parts, made.blueprint.links, set())
            assert len(node.selection) < MAX_UPSTREAM_TEXT
