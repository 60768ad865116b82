"""Templates: one rule for every input (design, exact rules 2 and 3)."""

from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.language.template import (
    OMITTED,
    MissingValue,
    Reference,
    Template,
    TemplateError,
    UnusableValue,
    as_text,
    parse,
    parse_tree,
    references,
    renderer,
)

SCOPE = {
    "id": "42",
    "count": 3,
    "rate": 1.5,
    "yes": True,
    "no": False,
    "nothing": None,
    "empty": "",
    "account": {"tier": "gold", "limits": [10, 20], "owner": {"name": "Ann"}, "closed": None, "x-y": 1, "0": "zero"},
    "list": ["a", {"b": "c"}],
    "args": {"id": "42"},
}


def rendered(text: str) -> object:
    return renderer(parse(text))(SCOPE)


# -- reading


@pytest.mark.parametrize(
    ("text", "path", "is_optional"),
    [
        ("{id}", ("id",), False),
        ("{account.owner.name}", ("account", "owner", "name"), False),
        ("{id?}", ("id",), True),
        ("{account.tier?}", ("account", "tier"), True),
        ("{list.0.b}", ("list", "0", "b"), False),
        ("{request.headers.x-tenant-id}", ("request", "headers", "x-tenant-id"), False),
        ("{_a1}", ("_a1",), False),
        ("{ id }", ("id",), False),
    ],
)
def test_a_text_that_is_one_reference_is_that_reference(text: str, path: tuple[str, ...], is_optional: bool) -> None:
    found = parse(text)
    assert found == Reference(path, is_optional=is_optional)
    assert isinstance(found, Reference)
    assert found.root == path[0]
    assert str(found) == ".".join(path)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{id}}", "{id}"),
        ("}", "}"),
        ("a}b", "a}b"),
        ("{{", "{"),
        ("}}", "}"),
        ("{{{{", "{{"),
        ("$x [0] %s", "$x [0] %s"),
        ('{{"a": 1}}', '{"a": 1}'),
    ],
)
def test_a_text_without_references_is_text_and_doubled_braces_are_single_ones(text: str, plain: str) -> None:
    assert parse(text) == plain


def test_literal_texts_and_references_keep_their_order() -> None:
    id_, tier = Reference(("id",)), Reference(("account", "tier"))
    assert parse("/a/{id}/{account.tier}?x=1") == Template(("/a/", id_, "/", tier, "?x=1"))
    assert parse("{id}{id}") == Template((id_, id_))
    assert parse("{{{id}}}") == Template(("{", id_, "}"))
    assert parse("a{{b{id}c}}d}}") == Template(("a{b", id_, "c}d}"))


@pytest.mark.parametrize(
    ("text", "offset", "words"),
    [
        ("/a/{id", 3, "not closed"),
        ("{", 0, "not closed"),
        ("a{b{c}", 1, "not closed"),
        ("{{{", 2, "not closed"),
        ("/a/{}", 3, "'{}'"),
        ("{a b}", 0, "'{a b}'"),
        ("{1a}", 0, "'{1a}'"),
        ("{a.}", 0, "'{a.}'"),
        ("{.a}", 0, "'{.a}'"),
        ("{a..b}", 0, "'{a..b}'"),
        ("{a?.b}", 0, "'{a?.b}'"),
        ("{a??}", 0, "'{a??}'"),
        ("{a[0]}", 0, "'{a[0]}'"),
        ("x{ä}", 1, "'{ä}'"),
        ("{a\n.b}", 0, "is not a reference"),
    ],
)
def test_a_brace_that_is_no_reference_is_refused_with_its_offset_and_the_way_to_write_it(
    text: str, offset: int, words: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert caught.value.offset == offset
    assert words in str(caught.value)
    assert "'{{' for a literal brace" in str(caught.value)


def test_a_tree_is_read_at_every_depth_and_keys_are_not_templates() -> None:
    tree = parse_tree({"{id}": ["{id}", {"x": "a-{id}"}], "n": 5, "t": True, "z": None})
    reference = Reference(("id",))
    assert tree == {"{id}": (reference, {"x": Template(("a-", reference))}), "n": 5, "t": True, "z": None}


def test_references_come_in_the_order_in_which_they_are_written() -> None:
    tree = parse_tree({"b": "{one}/{two}", "a": ["{three}", 1, {"c": "{four?}"}], "d": "none"})
    assert [str(reference) for reference in references(tree)] == ["one", "two", "three", "four"]


# -- rendering


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{id}", "42"),
        ("{count}", 3),
        ("{rate}", 1.5),
        ("{yes}", True),
        ("{no}", False),
        ("{empty}", ""),
        ("{account.limits}", [10, 20]),
        ("{account.owner}", {"name": "Ann"}),
        ("{account.limits.1}", 20),
        ("{list.1.b}", "c"),
        ("{args.id}", "42"),
        ("{account.x-y}", 1),
        ("{account.0}", "zero"),
        ("{count?}", 3),
    ],
)
def test_a_sole_reference_keeps_the_type_of_its_value(text: str, value: object) -> None:
    found = rendered(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("/a/{id}", "/a/42"),
        ("{id}-{count}", "42-3"),
        ("{count}{rate}", "31.5"),
        ("{yes}/{no}", "true/false"),
        ("[{empty}]", "[]"),
        ("{{{id}}}", "{42}"),
    ],
)
def test_values_inside_a_text_are_written_as_json_writes_them(text: str, value: str) -> None:
    assert rendered(text) == value


@pytest.mark.parametrize("text", ["a{account}", "{list}b", "{account.limits} {id}"])
def test_an_object_or_list_inside_a_text_is_refused(text: str) -> None:
    with pytest.raises(UnusableValue, match="object or a list") as caught:
        rendered(text)
    assert caught.value.reference in set(references(parse(text)))


@pytest.mark.parametrize(
    "text",
    [
        "{nothing}",
        "{unknown}",
        "{account.closed}",
        "{account.none}",
        "{id.x}",
        "{count.x}",
        "{list.9}",
        "{list.b}",
        "{account.closed.x}",
    ],
)
def test_a_reference_without_a_value_is_missing_alone_and_inside_a_text(text: str) -> None:
    for written in (text, f"a{text}"):
        with pytest.raises(MissingValue) as caught:
            rendered(written)
        assert f"{{{caught.value.reference}}}" == text


@pytest.mark.parametrize("text", ["{nothing?}", "{unknown?}", "{account.closed?}", "{list.9?}", "a-{nothing?}", "{id}{nothing?}"])
def test_an_optional_reference_without_a_value_leaves_the_whole_out(text: str) -> None:
    assert rendered(text) is OMITTED


def test_a_missing_value_is_missing_even_beside_an_optional_one() -> None:
    with pytest.raises(MissingValue):
        rendered("{id}{unknown}{nothing?}")


def test_what_is_left_out_leaves_no_key_and_no_item() -> None:
    tree = parse_tree({"a": "{id}", "b": "{nothing?}", "c": ["{nothing?}", "{count}", "x{nothing?}"], "d": {"e": "{nothing?}"}})
    assert renderer(tree)(SCOPE) == {"a": "42", "c": [3], "d": {}}


def test_a_tree_renders_constants_as_they_are() -> None:
    tree = parse_tree({"n": 5, "f": 0.5, "t": True, "z": None, "l": [1, [2]], "s": "x"})
    assert renderer(tree)({}) == {"n": 5, "f": 0.5, "t": True, "z": None, "l": [1, [2]], "s": "x"}


def test_rendering_changes_neither_tree_nor_scope() -> None:
    tree = parse_tree({"a": ["{account.limits}"]})
    scope = MappingProxyType({"account": {"limits": [1]}})
    first, second = renderer(tree)(scope), renderer(tree)(scope)
    assert first == second == {"a": [[1]]}
    assert first is not second


@pytest.mark.parametrize(
    ("value", "text"), [("é", "é"), (True, "true"), (False, "false"), (0, "0"), (-5, "-5"), (0.1, "0.1"), (1e16, "1e+16")]
)
def test_a_scalar_is_written_as_text(value: object, text: str) -> None:
    assert as_text(value, Reference(("x",))) == text


@pytest.mark.parametrize("value", [{}, [], None, (1,), b"x"])
def test_what_is_no_scalar_is_not_written_as_text(value: object) -> None:
    with pytest.raises(UnusableValue):
        as_text(value, Reference(("x",)))


def test_an_index_of_thousands_of_digits_is_beyond_the_end_of_every_list() -> None:
    with pytest.raises(MissingValue):
        renderer(parse(f"{{list.{'9' * 5000}}}"))(SCOPE)


# -- any text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text(max_size=30))
def test_text_whose_braces_are_doubled_renders_to_itself(text: str) -> None:
    assert renderer(parse(text.replace("{", "{{").replace("}", "}}")))({}) == text


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.lists(st.sampled_from(["{", "}", "a", ".", "?", " ", "{a}", "{a.b?}", "0", "-"]), max_size=12).map("".join))
def test_any_text_is_a_template_or_refused_at_a_brace(text: str) -> None:
    parsed, offset = parsed_or_refused(text)
    if offset is not None:
        assert text[offset] == "{"
    for reference in references(parsed):
        assert all(reference.path)
    if isinstance(parsed, Template):
        assert len(parsed.parts) >= 2
        assert all(part != "" for part in parsed.parts)


def parsed_or_refused(text: str) -> tuple[object, int | None]:
    try:
        return parse(text), None
    except TemplateError as error:
        return None, error.offset
