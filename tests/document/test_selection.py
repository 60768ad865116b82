"""A document → one tree without fragments and conditions (GraphQL spec 6.3.2)."""

import pytest
from graphql import DocumentNode, GraphQLSchema, OperationDefinitionNode, build_schema, parse, validate

from gateway.document.selection import Selected, _Collector, condition_variables, select
from tests.kit.documents import budget

SCHEMA = build_schema("""
    type Query { a: T b: T animal: Animal thing: Thing leaf: Int with(n: Int): Int }
    type T { x: Int y: Int t: T }
    interface Named { name: String }
    interface Animal implements Named { name: String legs: Int }
    type Dog implements Animal & Named { name: String legs: Int barks: Boolean friend: Animal }
    type Fish implements Animal & Named { name: String legs: Int deep: Int }
    union Thing = Dog | T
""")


def selection(query: str, schema: GraphQLSchema = SCHEMA, **conditions: object) -> tuple[Selected, ...]:
    document: DocumentNode = parse(query)
    assert not validate(schema, document)
    definition = next(node for node in document.definitions if isinstance(node, OperationDefinitionNode))
    return select(schema, document, definition, conditions, budget())


def shape(selected: tuple[Selected, ...]) -> object:
    """Write a selection as `key=name`, with what is below by type where there are several."""
    return [
        (part.key if part.key == part.name else f"{part.key}={part.name}")
        if not part.parts
        else {part.key: {name: shape(parts) for name, parts in part.parts.items()}}
        for part in selected
    ]


def test_fields_come_in_the_order_in_which_they_are_first_written() -> None:
    assert shape(selection("{ leaf b { x } a { y } leaf }")) == ["leaf", {"b": {"T": ["x"]}}, {"a": {"T": ["y"]}}]


def test_an_alias_is_the_key_and_the_field_keeps_its_name() -> None:
    first, second = selection("{ one: with(n: 1) two: with(n: 2) }")
    assert [(part.key, part.name, str(part.type)) for part in (first, second)] == [("one", "with", "Int"), ("two", "with", "Int")]
    assert first.node is not second.node


def test_repeated_fields_are_one_with_all_that_is_selected_of_any() -> None:
    query = "{ a { x } ...F a { y t { x } } } fragment F on Query { a { t { y } x } }"
    assert shape(selection(query)) == [{"a": {"T": ["x", {"t": {"T": ["y", "x"]}}, "y"]}}]


def test_fragments_in_fragments_are_taken_apart_in_place() -> None:
    query = "{ a { ...F y } } fragment F on T { ...G x } fragment G on T { t { x } ... { y } }"
    assert shape(selection(query)) == [{"a": {"T": [{"t": {"T": ["x"]}}, "y", "x"]}}]


def test_what_is_selected_of_an_interface_differs_by_concrete_type() -> None:
    query = "{ animal { name ... on Dog { barks } ...F ... on Named { n: name } } } fragment F on Fish { deep legs }"
    assert shape(selection(query)) == [
        {"animal": {"Dog": ["name", "barks", "n=name"], "Fish": ["name", "deep", "legs", "n=name"]}}
    ]


def test_what_is_selected_of_a_union_is_empty_for_types_that_no_fragment_is_about() -> None:
    query = "{ thing { ... on Animal { name ... on Dog { friend { legs } } ... on Fish { deep } } } }"
    friend = {"friend": {"Dog": ["legs"], "Fish": ["legs"]}}
    assert shape(selection(query)) == [{"thing": {"Dog": ["name", friend], "T": []}}]
    assert [list(part.parts) for part in selection(query)] == [["Dog", "T"]]


def test_a_typename_is_a_leaf_anywhere() -> None:
    assert shape(selection("{ __typename a { t: __typename } thing { __typename } }")) == [
        "__typename",
        {"a": {"T": ["t=__typename"]}},
        {"thing": {"Dog": ["__typename"], "T": ["__typename"]}},
    ]


def test_introspection_is_kept_whole_for_who_answers_it() -> None:
    schema, named = selection('{ __schema { types { name } } t: __type(name: "T") { name } }')
    assert (schema.name, named.key, named.name) == ("__schema", "t", "__type")
    assert not schema.parts
    assert not named.parts


@pytest.mark.parametrize(
    ("directives", "is_there"),
    [
        ("@include(if: true)", True),
        ("@include(if: false)", False),
        ("@skip(if: true)", False),
        ("@skip(if: false)", True),
        ("@include(if: true) @skip(if: false)", True),
        ("@include(if: true) @skip(if: true)", False),
        ("@include(if: false) @skip(if: false)", False),
        ("@include(if: $yes)", True),
        ("@include(if: $no)", False),
        ("@skip(if: $yes)", False),
        ("@skip(if: $no)", True),
    ],
)
@pytest.mark.parametrize("template", ["leaf %s", "... %s { leaf }", "... on Query %s { leaf }", "...F %s"])
def test_a_selection_is_left_out_when_either_directive_says_so(template: str, directives: str, is_there: bool) -> None:
    fragment = "fragment F on Query { leaf }" if "...F" in template else ""
    query = f"{{ b {{ x }} {template % directives} }} {fragment}"
    used = ", ".join(f"${name}: Boolean!" for name in ("yes", "no") if f"${name}" in query)
    found = selection(f"query {f'({used})' if used else ''} {query}", yes=True, no=False)
    assert [part.key for part in found] == (["b", "leaf"] if is_there else ["b"])


def test_a_spread_that_is_left_out_does_not_hide_a_later_one_of_the_same_fragment() -> None:
    query = "{ a { ...F @skip(if: true) y ...F } } fragment F on T { x }"
    assert shape(selection(query)) == [{"a": {"T": ["y", "x"]}}]


def test_a_field_that_is_left_out_once_is_there_for_the_other_times() -> None:
    query = "{ a @skip(if: true) { x } a { y } }"
    assert shape(selection(query)) == [{"a": {"T": ["y"]}}]


def test_the_variables_of_conditions_are_found_wherever_they_stand() -> None:
    query = """query ($a: Boolean!, $b: Boolean!, $c: Boolean!, $d: Boolean!, $n: Int) {
      a @skip(if: $a) { x ... @include(if: $b) { y } } ...F @skip(if: $c) with(n: $n)
    }
    fragment F on Query { b { x @include(if: $d) @skip(if: $a) } leaf @include(if: true) }"""
    assert condition_variables(parse(query)) == {"a", "b", "c", "d"}


def test_a_document_without_conditions_reads_no_variable() -> None:
    assert condition_variables(parse("query ($n: Int) { with(n: $n) }")) == frozenset()


def test_equal_selections_are_collected_once_however_often_fragments_multiply_them() -> None:
    levels = 12
    fragments = [f"fragment F{level} on T {{ a: t {{ ...F{level + 1} }} b: t {{ ...F{level + 1} }} }}" for level in range(levels)]
    waiting = list(selection(" ".join(["{ a { ...F0 } }", *fragments, f"fragment F{levels} on T {{ x }}"])))
    seen: dict[int, tuple[Selected, ...]] = {}
    while waiting:
        parts = waiting.pop().parts.get("T", ())
        waiting += parts if id(parts) not in seen else ()
        seen[id(parts)] = parts
    assert len(seen) <= 2 * levels + 2  # and not two to the power of 12


def test_a_fragment_is_gone_through_once_however_often_it_is_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[object] = []
    is_included = _Collector.is_included

    def looking(collector: _Collector, node: object) -> bool:
        looked_at.append(node)
        return is_included(collector, node)

    monkeypatch.setattr(_Collector, "is_included", looking)
    levels = 10
    fragments = [f"fragment F{level} on T {{ ...F{level + 1} ...F{level + 1} }}" for level in range(levels)]
    found = selection(" ".join(["{ a { ...F0 } }", *fragments, f"fragment F{levels} on T {{ x }}"]))
    assert shape(found) == [{"a": {"T": ["x"]}}]
    assert len(looked_at) == 2 * levels + 3
