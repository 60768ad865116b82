"""Documents of all sizes: what they are counted to, which limit refuses them and how soon; and that fields can be merged is checked rightly."""

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    NoUnusedFragmentsRule,
    OperationDefinitionNode,
    OverlappingFieldsCanBeMergedRule,
    SelectionSetNode,
    build_schema,
    get_introspection_query,
    parse,
    specified_rules,
    validate,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.document.limits import CHARACTERS_PER_TOKEN, EXPANDED_PER_TOKEN, HARD_MAX_TOKENS, DocumentSize, measure
from gateway.document.overlapping_fields import conflicts
from gateway.errors import RequestError
from gateway.run.reply_cache import ReplyCache
from gateway.schema.build import build_schema as build
from gateway.serve.generation.generation import Generation
from tests.kit.documents import Documents, budget
from tests.kit.timing import least_cpu_seconds
from tests.oracle import blueprint_of

CONFIG = """
operation: n
args: { x: "[Int]", y: In, s: String, j: Int }
type: Root
steps:
  - { name: n, type: act, returns: N }
  - { name: u, type: act, returns: U }
"""
TYPES = """
type N implements I { id: ID n: N l: [N] i: I u: U }
type M implements I { id: ID n: N i: I }
interface I { id: ID n: N i: I }
union U = N | M
input In { a: Int i: In l: [In] }
"""
SOON = 0.25
"""Seconds of CPU in which a hostile document must be refused or planned. It takes less than 0.05; the rest is for the machines of others."""


def documents(limits: str = "", *, is_development: bool = False) -> Documents:
    blueprint = blueprint_of(f"{CONFIG}---\nlimits: {{ {limits} }}\n", TYPES)
    return Documents(blueprint, build(blueprint), is_development)


PRODUCTION = documents()


def code_of(query: str, found: Documents = PRODUCTION, variables: Mapping[str, object] | None = None) -> str:
    """Take a document as far as its plan; return the code that refuses it, or nothing."""
    refused: list[RequestError] = []
    try:
        document = found.read(query)
        definition = document.definition(document.definitions[0].name if document.definitions else None, is_read_only=False)
        found.plan(definition, definition.variables(variables or {}))
    except RequestError as error:
        refused.append(error)
    assert all(error.status in {400, 403} and len(error.errors) <= 51 for error in refused)
    return str(refused[0].code) if refused else ""


def nested(depth: int, field: str = "n", inner: str = "id") -> str:
    return f"{field}{{" * (depth - 1) + inner + "}" * (depth - 1)


# -- each limit, and one beyond


def below(depth: int) -> str:
    """Return a query of some depth through three fragments."""
    first, rest = 4, depth - 4
    parts = [rest // 3, rest // 3, rest - 2 * (rest // 3)]
    return (
        f"{{{nested(first + 1, inner='...A')}}} fragment A on N{{{nested(parts[0] + 1, inner='...B')}}} "
        f"fragment B on N{{{nested(parts[1] + 1, inner='...C')}}} fragment C on N{{{nested(parts[2])}}}"
    )


@pytest.mark.parametrize("number", [2000, 2001])
def test_tokens_are_counted_with_comments(number: int) -> None:
    query = "{__typename}" + "#\n" * (number - 3)
    assert code_of(query) == ("TOKEN_LIMIT_EXCEEDED" if number > 2000 else "")


@pytest.mark.parametrize("depth", [15, 16])
def test_depth_is_counted_directly_and_through_fragments(depth: int) -> None:
    expected = "MAX_DEPTH_LIMIT" if depth > 15 else ""
    inline = f"{{n{{n{{{'... on N{n{...{' * 7}{nested(depth - 9)}{'}}}' * 7}}}}}}}"
    assert [code_of(query) for query in (f"{{{nested(depth)}}}", below(depth), inline)] == [expected] * 3


@pytest.mark.parametrize("number", [30, 31])
def test_aliases_are_counted_wherever_they_stand(number: int) -> None:
    expected = "MAX_ALIASES_LIMIT" if number > 30 else ""
    aliases = " ".join(f"a{index}:id" for index in range(number))
    spread = " ".join("n{...F}" for _ in range(number))
    below_root = " ".join(f"a{index}:n{{n{{id}}}}" for index in range(number))
    assert code_of(f"{{n{{n{{{aliases}}}}}}}") == expected
    assert code_of(f"{{n{{n{{...F}}}}}} fragment F on N{{{aliases}}}") == expected
    assert code_of(f"{{n{{n{{{spread}}}}}}} fragment F on N{{a:id}}") == expected
    assert code_of(f"{{{below_root}}}") == (expected or "MAX_ROOT_FIELDS_LIMIT")


@pytest.mark.parametrize("number", [20, 21])
def test_root_fields_are_counted_plain_aliased_and_in_fragments(number: int) -> None:
    expected = "MAX_ROOT_FIELDS_LIMIT" if number > 20 else ""
    aliased = " ".join(f"a{index}:__typename" for index in range(number))
    plain = "__typename " * number
    for query in (
        f"{{{plain}}}",
        f"{{{aliased}}}",
        f"{{...{{{plain}}}}}",
        f"{{...F}} fragment F on Query{{{plain}}}",
        f"{{{'...F ' * number}}} fragment F on Query{{__typename}}",
        f"query A{{__typename}} query B{{{plain}}}",
    ):
        assert code_of(query) == expected


@pytest.mark.parametrize("number", [500, 501])
def test_fields_are_counted_as_often_as_they_are_spread(number: int) -> None:
    expected = "MAX_FIELDS_LIMIT" if number > 500 else ""
    assert code_of(f"{{n{{n{{{'id ' * (number - 2)}}}}}}}") == expected
    spread = f"{{n{{n{{{'...F ' * 4} {'id ' * (number - 402)}}}}}}} fragment F on N{{{'id ' * 100}}}"
    assert code_of(spread) == expected
    apart = " ".join(f"query A{index}{{n{{n{{...F}}}}}}" for index in range(5))
    assert code_of(f"{apart} fragment F on N{{{'id ' * (number - 402)}}}") == expected


@pytest.mark.parametrize("number", [50, 51])
def test_directives_are_counted_as_often_as_they_are_spread(number: int) -> None:
    expected = "MAX_DIRECTIVES_LIMIT" if number > 50 else ""
    assert code_of(f"{{n{{n{{{'id @skip(if:true) ' * number} id}}}}}}") == expected
    assert code_of(f"{{n{{n{{{'...F ' * number} id}}}}}} fragment F on N{{id @skip(if:true)}}") == expected


def test_a_short_query_and_that_of_tools_is_within_all_limits() -> None:
    assert code_of("{ n { n { id l { id } } } }") == ""
    assert code_of(get_introspection_query(), documents("introspection: true")) == ""


def test_all_limits_that_are_exceeded_are_told_each_with_its_code() -> None:
    aliases = " ".join(f"a{index}:n{{n{{id}}}}" for index in range(200))
    with pytest.raises(RequestError) as caught:
        PRODUCTION.read(f"{{{aliases}}}")
    codes = ["MAX_ALIASES_LIMIT", "MAX_ROOT_FIELDS_LIMIT", "MAX_FIELDS_LIMIT"]
    assert [error["extensions"] for error in caught.value.errors] == [{"code": code} for code in codes]
    assert caught.value.errors[0]["message"] == "The document has more than 30 aliases."


# -- settings


def test_each_limit_can_be_set() -> None:
    queries = {
        "max_tokens": "{__typename __typename}",
        "max_depth": "{n{n{id}}}",
        "max_root_fields": "{__typename __typename}",
        "max_aliases": "{a:__typename b:__typename}",
        "max_fields": "{__typename __typename}",
        "max_directives": "{__typename @skip(if:false) @include(if:true)}",
    }
    for name, query in queries.items():
        assert code_of(query) == ""
        assert code_of(query, documents(f"{name}: 1")).replace("TOKEN_", "MAX_TOKENS_") != ""


def test_the_work_of_reading_counts_for_planning_and_is_only_told_where_it_is_measured(caplog: pytest.LogCaptureFixture) -> None:
    assert code_of("{ a: __typename b: __typename }", documents("planning: 50")) == ""
    assert code_of("{ a: __typename b: __typename }", documents("planning: 1")) == "QUERY_PLAN_COMPLEXITY_EXCEEDED"
    assert not caplog.records
    assert code_of("{ a: __typename b: __typename }", documents("mode: measure, planning: 1")) == ""
    assert [vars(record)["code"] for record in caplog.records] == ["QUERY_PLAN_COMPLEXITY_EXCEEDED"] * 2, "read, and planned"


def test_what_is_only_measured_is_told_in_the_log_and_answered(caplog: pytest.LogCaptureFixture) -> None:
    found = documents("mode: measure, max_fields: 1, max_aliases: 1")
    assert code_of("{a:__typename b:__typename}", found) == ""
    assert [vars(record)["code"] for record in caplog.records] == ["MAX_ALIASES_LIMIT", "MAX_FIELDS_LIMIT"]
    assert code_of("{" + "__typename " * HARD_MAX_TOKENS + "}", found) == "TOKEN_LIMIT_EXCEEDED"


def test_introspection_and_suggestions_are_as_the_mode_says_unless_they_are_set() -> None:
    schema, misspelt = "{__schema{__typename}}", "{n{nn{id}}}"
    for is_development in (False, True):
        found = documents(is_development=is_development)
        assert code_of(schema, found) == ("" if is_development else "INTROSPECTION_DISABLED")
        assert ("Did you mean" in str(found.read(misspelt).mistakes)) is is_development
        turned = str(not is_development).lower()
        found = documents(f"introspection: {turned}, suggestions: {turned}", is_development=is_development)
        assert code_of(schema, found) == ("INTROSPECTION_DISABLED" if is_development else "")
        assert ("Did you mean" in str(found.read(misspelt).mistakes)) is not is_development


def circular(lists: int) -> str:
    inner = "name"
    for _ in range(lists):
        inner = f"fields{{type{{{inner}}}}}"
    return f"{{__schema{{types{{{inner}}}}}}}"


FRAGMENT = '{__type(name:"N"){...F}} fragment F on __Type{' + circular(3).removeprefix("{__schema{types{").removesuffix("}}")


@pytest.mark.parametrize("query", [circular(3), circular(4), FRAGMENT])
def test_introspection_that_goes_round_in_circles_is_refused(query: str) -> None:
    with pytest.raises(RequestError, match="Maximum introspection depth exceeded"):
        documents("introspection: true").read(query)
    assert documents("introspection: true").read(circular(2)).mistakes == ()
    assert documents("introspection: true, max_introspection_depth: 3").read(circular(3)).mistakes == ()


def test_fields_that_are_named_like_those_of_introspection_nest_as_others() -> None:
    assert measure("{" + "fields { interfaces {" * 3 + "__typename" + "}}" * 3 + "}", 100).introspection_depth == 0


def test_equal_mistakes_are_told_once_with_all_their_places() -> None:
    (mistake,) = PRODUCTION.read("query cop { __typename @aa@aa@aa@aa@aa@aa@aa@aa@aa@aa }").mistakes
    assert len(mistake["locations"]) == 10  # type: ignore[arg-type]


TWICE = {
    "a circle behind one of its name": "{nope} fragment F on N{id} fragment F on N{n{...F}}",
    "the same, spread": "{n{...F}} fragment F on N{id} fragment F on N{n{...F}}",
    "the same of no type": "{n{...F}} fragment F on Nope{id} fragment F on Nope{...F}",
    "a circle before one of its name": "{nope} fragment F on N{n{...F}} fragment F on N{id}",
    "a type named fragment": "fragment query on Query{__typename} scalar fragment query{n(nope:1){id}...query}",
}


@pytest.mark.parametrize("query", TWICE.values(), ids=TWICE)
def test_a_document_in_which_a_circle_cannot_be_told_is_not_taken_for_valid(query: str) -> None:
    assert PRODUCTION.read(query).mistakes


# -- hostile documents

DEEP = 5_000
WITHIN = "{{n{{n{{{}}}}}}}".format
HOSTILE = {
    "n{n{n{id}}} x 300": "{" + "n{n{n{id}}}" * 300 + "}",
    "n{id} x 1000": "{" + "n{id}" * 1000 + "}",
    "n{id} x 249": WITHIN("n{id}" * 249),
    "200 fragments": WITHIN(" ".join(f"...F{i}" for i in range(200))) + " ".join(f"fragment F{i} on N{{id}}" for i in range(200)),
    "fields 5,000 deep": "{n" * DEEP + "}" * DEEP,
    "fields 5,000 deep, open": "{n" * DEEP,
    "inline fragments 5,000 deep": "{" + "...{" * DEEP + "id" + "}" * DEEP + "}",
    "lists 5,000 deep": "{n(x:" + "[" * DEEP + "]" * DEEP + "){n{id}}}",
    "lists 300 deep": "{n(x:" + "[" * 300 + "]" * 300 + "){n{id}}}",
    "objects 300 deep": "{n(y:" + "{i:" * 300 + "{}" + "}" * 300 + "){n{id}}}",
    "a list type 900 deep": "query($x:" + "[" * 900 + "Int" + "]" * 900 + "){n{n{id}}}",
    "a default 900 deep": "query($x:[Int]=" + "[" * 900 + "]" * 900 + "){n(x:$x){n{id}}}",
    "fragments that double": WITHIN("...F0")
    + " ".join(f"fragment F{i} on N{{...F{i + 1} ...F{i + 1}}}" for i in range(100))
    + "fragment F100 on N{id}",
    "fields that double": WITHIN("...F0")
    + " ".join(f"fragment F{i} on N{{a:n{{...F{i + 1}}} b:n{{...F{i + 1}}}}}" for i in range(8))
    + "fragment F8 on N{id}",
    "spreads of spreads": WITHIN("...F " * 450) + "fragment F on N{" + "...G " * 450 + "} fragment G on N{id}",
    "a circle": WITHIN("...A") + "fragment A on N{...B} fragment B on N{n{...A}}",
    "a circle of 150": WITHIN("...F0") + " ".join(f"fragment F{i} on N{{id ...F{(i + 1) % 150}}}" for i in range(150)),
    "circles everywhere": WITHIN("...F0")
    + " ".join(f"fragment F{i} on N{{{'...F0 ' * 5}...F{(i + 1) % 90}}}" for i in range(90)),
    "@skip x 1000": WITHIN("id" + "@skip(if:true)" * 1000),
    "@aa x 600": WITHIN("id" + "@aa" * 600),
    "an object of 640 unknown fields": "{n(y:{" + "z:1 " * 640 + "}){n{id}}}",
    "an object of 500 unknown fields, deep": "{n(y:{"
    + "i:{" * 10
    + " ".join(f"z{i}:1" for i in range(500))
    + "}" * 11
    + "){n{id}}}",
    "unknown fields after 97,000 lines": "\n" * 97_000 + WITHIN(" ".join(f"z{i}" for i in range(50))),
    "unknown fields after lines of another kind": "\r" * 90_000 + WITHIN(" ".join(f"z{i}" for i in range(450))),
    "operations of one name after 90,000 lines": "\n" * 90_000 + "query A{n{id}}" * 100,
    "unknown fields of long names": WITHIN(" ".join("z" * 190 + str(i) for i in range(490))),
    "325 inline fragments": WITHIN("... on N{id}" * 325),
    "325 type conditions": "{n{u{" + "... on N{id}... on M{id}" * 162 + "}}}",
    "type conditions below each other": WITHIN("i{id ... on N{i{id}} ... on M{i{id}}}" * 60),
    "500 selection sets that are empty": WITHIN("...{}" * 490),
    "2,000 items": "{n(x:[" + "1 " * 1_900 + "]){n{id}}}",
    "the same big list many times": "{" + ("n(x:[" + "1 " * 90 + "]){n{id}}") * 18 + "}",
    "300 variables": "query(" + "".join(f"$v{i}:Int" for i in range(300)) + "){n{n{id}}}",
    "operations x variables": "".join(f"query A{i}($v:Int){{...F}}" for i in range(90))
    + "fragment F on Query{n(x:["
    + "$v " * 480
    + "]){n{id}}}",
    "160 operations": "".join(f"query A{i}{{n{{n{{id}}}}}}" for i in range(160)),
    "unknown fields": WITHIN(" ".join(f"x{i}" for i in range(490))),
    "unknown fragments": "{" + "...X " * 900 + "}",
    "1 MB of comments": "#\n" * 500_000,
    "1 MB of one comment": "{__typename}#" + "x" * 1_000_000,
    "1 MB of commas": "," * 1_000_000,
    "1 MB of a text": '{n(s:"' + "x" * 1_000_000 + '"){n{id}}}',
    "90 kB of a text": '{n(s:"""' + "x\n" * 45_000 + '"""){n{id}}}',
    "90 kB of escapes": '{n(s:"' + '\\"' * 45_000,
    "90 kB of open texts": '{n(s:"' + '\\"\\' * 30_000,
    "90 kB of quotes": '"' * 90_001,
    "90 kB of open block texts": '"""' + '\\"""' * 22_000,
    "a number of 90,000 digits": "{n(j:" + "9" * 90_000 + "){n{id}}}",
    "introspection x 20": "{" + "__schema{types{name fields{name}}}" * 20 + "}",
}


@pytest.mark.parametrize("query", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_document_is_refused_or_planned_before_long(query: str) -> None:
    texts = (query + " " * number for number in itertools.count())  # each is new to what knows documents again
    assert least_cpu_seconds(lambda: code_of(next(texts)), SOON) < SOON


def test_depth_is_told_of_documents_that_are_too_long_as_well() -> None:
    assert code_of(HOSTILE["fields 5,000 deep"]) == "MAX_DEPTH_LIMIT"
    assert code_of(HOSTILE["fields 5,000 deep, open"]) == "MAX_DEPTH_LIMIT"
    assert code_of(HOSTILE["inline fragments 5,000 deep"]) == "MAX_DEPTH_LIMIT"
    assert code_of(HOSTILE["lists 300 deep"]) == "MAX_DEPTH_LIMIT"
    assert code_of(HOSTILE["1 MB of comments"]) == "TOKEN_LIMIT_EXCEEDED"
    assert code_of(HOSTILE["1 MB of one comment"]) == "TOKEN_LIMIT_EXCEEDED"


def test_a_document_that_is_refused_leaves_nothing_in_the_caches() -> None:
    generation = Generation(PRODUCTION, {}, ReplyCache())
    for number in range(50):
        with pytest.raises(RequestError):
            generation.read("{" + f"n{number} " * 600 + "}")
    assert generation.capacity.bytes == 0
    invalid = generation.read(WITHIN("nothing " * 400))
    assert invalid.mistakes
    assert [definition.document.definitions for definition in invalid.definitions] == [()]


# -- counts against a plain walk of the document


class Reference:
    """Counts a parsed document in the plainest way: fragments are walked wherever they are spread."""

    def __init__(self, text: str) -> None:
        self.document: DocumentNode = parse(text)
        self.fragments = {node.name.value: node for node in self.document.definitions if isinstance(node, FragmentDefinitionNode)}
        self.operations = [node for node in self.document.definitions if isinstance(node, OperationDefinitionNode)]

    def fields(
        self, node: SelectionSetNode, above: tuple[str, ...], *, expands: bool
    ) -> Iterator[tuple[FieldNode, tuple[str, ...]]]:
        """Yield each field with the names of the fields above it."""
        for selection in node.selections:
            if isinstance(selection, FieldNode):
                yield selection, above
                if selection.selection_set:
                    yield from self.fields(selection.selection_set, (*above, selection.name.value), expands=expands)
            elif isinstance(selection, InlineFragmentNode):
                yield from self.fields(selection.selection_set, above, expands=expands)
            elif isinstance(selection, FragmentSpreadNode) and expands and selection.name.value in self.fragments:
                yield from self.fields(self.fragments[selection.name.value].selection_set, above, expands=expands)

    def size(self) -> dict[str, int]:
        """Return depths, root fields, aliases and fields."""
        expanded = [list(self.fields(node.selection_set, (), expands=True)) for node in self.operations]
        nodes: list[Any] = list(self.document.definitions)
        written = [found for node in nodes for found in self.fields(node.selection_set, (), expands=False)]
        everything = [found for fields in expanded for found in fields]
        return {
            "depth": max(1 + len(above) for node in nodes for _, above in self.fields(node.selection_set, (), expands=True)),
            "root_fields": max(sum(not above for _, above in fields) for fields in expanded),
            "aliases": max(sum(bool(field.alias) for field, _ in found) for found in (written, everything)),
            "fields": max(len(written), len(everything)),
            "introspection_depth": max(type_lists(above) for _, above in everything),
        }


def type_lists(names: tuple[str, ...]) -> int:
    """Count the lists of types' descriptions in a path of fields, from where it asks about the schema."""
    begin = min((names.index(root) for root in ("__schema", "__type") if root in names), default=len(names))
    return sum(name in {"fields", "interfaces", "possibleTypes", "inputFields"} for name in names[begin:])


KEYS = ["", "", "a: ", "b: ", "on: ", "fragment: ", "x :"]
NAMES = ["id", "n", "l", "i", "u", "on", "fragment", "query", "__typename", "__type", "__schema", "fields", "interfaces"]
ARGUMENTS = [
    "",
    "",
    "(x: [1, 2])",
    '(s: "} { a: b ...F @x")',
    "(y: {a: 1, l: [{a: 2}]})",
    "(x: $v)",
    '(s: """}"{a:b """)',
    "(j: -1.5e3) # } {\n",
]
DIRECTIVES = ["", "", " @skip(if: true)", " @include(if: $c)", " @on @x(a: {b: c})"]
CONDITIONS = ["...", "... on N", "... on U @skip(if: false)", "... @include(if: $c)"]
HEADS = [
    "",
    "query A",
    "query fragment($v: [Int] = [1], $c: Boolean! @x)",
    "mutation B @x",
    "query on",
    "subscription query @a(b: {c: 1})",
]
FRAGMENTS = ["F", "G", "H", "query"]


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes random documents in which a fragment spreads only those after it."""

    random: random.Random

    def document(self) -> str:
        operations = [f"{self.random.choice(HEADS)} {self.selection_set(3, FRAGMENTS)}" for _ in range(self.random.randint(1, 2))]
        fragments = [
            f"fragment {name} on N {self.selection_set(2, FRAGMENTS[place + 1 :])}" for place, name in enumerate(FRAGMENTS)
        ]
        parts = [*operations, *fragments]
        self.random.shuffle(parts)
        return "\n".join(parts)

    def selection_set(self, levels: int, fragments: list[str]) -> str:
        return f"{{ {' '.join(self.selection(levels, fragments) for _ in range(self.random.randint(1, 4)))} }}"

    def selection(self, levels: int, fragments: list[str]) -> str:
        choose = self.random.choice
        if fragments and self.random.random() < 0.2:
            return f"...{choose(['', ' '])}{choose(fragments)}{choose(DIRECTIVES)}"
        below = self.selection_set(levels - 1, fragments) if levels and self.random.random() < 0.5 else ""
        if below and self.random.random() < 0.3:
            return f"{choose(CONDITIONS)} {below}"
        return f"{choose(KEYS)}{choose(NAMES)}{choose(ARGUMENTS)}{choose(DIRECTIVES)} {below}"


@pytest.mark.parametrize("seed", range(5))
def test_what_is_counted_is_what_stands_in_the_document(seed: int) -> None:
    writer = Writer(random.Random(seed))
    for text in (writer.document() for _ in range(100)):
        expected = Reference(text).size()
        size = measure(text, HARD_MAX_TOKENS)
        counted = {name: getattr(size, name) for name in expected}
        # Braces and brackets of values count a little, and may be the deepest.
        assert {**counted, "depth": expected["depth"]} == expected, text
        assert expected["depth"] <= size.depth <= max(expected["depth"], 8)
        assert not size.is_circular


@settings(derandomize=True, deadline=None, database=None)
@given(text=st.text('{}()[]:@.#"\\$!= \n,ab1-on', max_size=60))
def test_any_text_can_be_measured(text: str) -> None:
    assert measure(text, 50).tokens <= max(51, len(text))


def test_tokens_are_also_counted_by_length_and_by_what_fragments_make_of_them() -> None:
    assert measure("{a}" + " " * 1000, 100).tokens == 1003 // CHARACTERS_PER_TOKEN
    query = "{...F ...F} fragment F on Q {" + "...G " * 50 + "} fragment G on Q {" + "a " * 50 + "}"
    assert measure(query, 1000).tokens > 2 * 50 * 50 // EXPANDED_PER_TOKEN
    assert measure("{...A} fragment A on Q {a ...A}", 100) == DocumentSize(13, 1, 0, 0, 1, 0, 0, is_circular=True)


# -- merging

SCHEMA = build_schema(
    f"{TYPES} type Query {{ n(x: [Int] y: In s: String): N m: M u: U i: I k: Int! q: String ks: [Int] id: ID }}"
)
ROOTS = [
    "n",
    "n",
    "n: m",
    "n(x: [1])",
    "n(y: {a: 1, l: []})",
    "n(y: {l: [], a: 1})",
    'n(s: "1")',
    "a: n",
    "a: m",
    "a: i",
    "u",
    "i",
    "k",
    "k: q",
    "a: k",
]
INNER = ["n", "a: n", "i", "a: i", "l", "n: l", "... on N", "... on M", "... on I", "...", "u"]
LEAVES = ["id", "id", "a: id", "id: __typename", "a: __typename", "__typename", "...F", "...G"]


def merged(chance: random.Random) -> str:
    """Write a document whose fields often meet under the same keys."""

    def below(levels: int) -> str:
        parts = (
            f"{chance.choice(INNER)} {below(levels - 1)}" if levels and chance.random() < 0.5 else chance.choice(LEAVES)
            for _ in range(chance.randint(1, 3))
        )
        return f"{{ {' '.join(parts)} }}"

    roots = (chance.choice(ROOTS) for _ in range(chance.randint(2, 3)))
    written = " ".join(root if root.endswith(("k", "q")) else f"{root} {below(3)}" for root in roots)
    first, last = below(1).replace("...F", "id"), below(1).replace("...F", "id").replace("...G", "id")
    return f"query {{ {written} }} fragment F on I {first} fragment G on N {last}"


OTHER_RULES = [rule for rule in specified_rules if rule not in {NoUnusedFragmentsRule, OverlappingFieldsCanBeMergedRule}]


def reachable(document: DocumentNode) -> DocumentNode:
    """Return a document without the fragments that nobody spreads: it is refused for those, so that in them nothing else is looked for."""
    unused = [id(error.nodes[0]) for error in validate(SCHEMA, document, [NoUnusedFragmentsRule]) if error.nodes]
    return DocumentNode(definitions=tuple(node for node in document.definitions if id(node) not in unused))


@pytest.mark.parametrize("seed", range(5))
def test_fields_can_be_merged_where_graphql_core_says_so(seed: int) -> None:
    chance = random.Random(seed)
    seen = {True: 0, False: 0}
    for text in (merged(chance) for _ in range(300)):
        document = reachable(parse(text))
        if not validate(SCHEMA, document, OTHER_RULES):
            expected = not validate(SCHEMA, document, [OverlappingFieldsCanBeMergedRule])
            assert (not list(conflicts(SCHEMA, document, budget()))) is expected, text
            seen[expected] += 1
    assert min(seen.values()) > 10


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("{ a: k a: q }", "Fields 'a' conflict because 'k' and 'q' are different fields."),
        ("{ n { a: id a: __typename } }", "Fields 'a' conflict because 'id' and '__typename' are different fields."),
        ("{ a: n { id } a: i { id } }", "Fields 'a' conflict because 'n' and 'i' are different fields."),
        ("{ n(x: [1]) { id } n { id } }", "Fields 'n' conflict because they have differing arguments."),
        ("{ n { n { id } } n { n { id: __typename } } }", "Fields 'id' conflict because 'id' and '__typename' are different"),
        (
            "{ i { ... on N { x: n { id } } ... on M { x: id } } }",
            "Fields 'x' conflict because they return conflicting types 'N' and 'ID'.",
        ),
    ],
)
def test_a_conflict_is_told_with_its_reason_and_both_places(query: str, message: str) -> None:
    (error,) = conflicts(SCHEMA, parse(query), budget())
    assert isinstance(error, GraphQLError)
    assert error.message.startswith(message)
    assert len(error.locations or ()) == 2
