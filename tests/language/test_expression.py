"""Expressions: what JMESPath reads from its input, and that its errors are ours."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.language.expression import ExpressionError, compile_expression


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a", [("a",)]),
        ("a.b.c", [("a", "b", "c")]),
        ('a."x-y".c', [("a", "x-y", "c")]),
        ("a == 'x'", [("a",)]),
        ("a.b > `1` && c.d || !e", [("a", "b"), ("c", "d"), ("e",)]),
        ("a.b == c.d", [("a", "b"), ("c", "d")]),
        ("a[0].b", [("a",)]),
        ("a[].b", [("a",)]),
        ("a[1:3]", [("a",)]),
        ("a[*].b.c", [("a",)]),
        ("a.*.b", [("a",)]),
        ("a.b[?c == 'x'].d", [("a", "b")]),
        ("a.b[?c == d.e]", [("a", "b")]),
        ("length(a.b)", [("a", "b")]),
        ("contains(a.b, c)", [("a", "b"), ("c",)]),
        ("sort_by(a, &b.c)", [("a",)]),
        ("max_by(a.b, &c)[0].d", [("a", "b")]),
        ("a.b | c.d", [("a", "b")]),
        ("[a.b, c]", [("a", "b"), ("c",)]),
        ("{x: a.b, y: c}", [("a", "b"), ("c",)]),
        ("a.{x: b, y: c.d}", [("a",)]),
        ("a.[b, c]", [("a",)]),
        ("(a || b).c", [("a",), ("b",)]),
        ("@.a.b", [("a", "b")]),
        ("@", [()]),
        ("length(@)", [()]),
        ("values(@)", [()]),
        ("`1`", []),
        ("'text'", []),
        ("a && a && a.b && a.b", [("a",), ("a", "b")]),
    ],
)
def test_the_paths_that_an_expression_reads_are_known(text: str, paths: list[tuple[str, ...]]) -> None:
    assert list(compile_expression(text).paths) == paths


@pytest.mark.parametrize("text", ["*", "*.a", "[0]", "[?a]", "[]", "{x: *}"])
def test_an_expression_that_reads_everything_says_so(text: str) -> None:
    assert () in compile_expression(text).paths


@pytest.mark.parametrize("text", ["a.b[0]", "a.b[0].c", "a.b[*].c"])
def test_an_index_does_not_hide_the_name_before_it(text: str) -> None:
    assert compile_expression(text).paths == (("a", "b"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = b", "="),
        ("a[", "Incomplete"),
        ("a.", "column 2"),
        ("'a", "Unclosed"),
        ("a b", "token"),
        ("", "empty|Invalid|Incomplete"),
        ("a)", "token"),
        ("é", "é"),
    ],
)
def test_what_is_no_expression_is_refused_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words) as caught:
        compile_expression(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["lenght(a)", "length(a, b)", "length()", "nope(@)"])
def test_a_function_that_is_not_there_is_refused_when_the_expression_is_compiled(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)


@pytest.mark.parametrize("text", ["(" * 5000 + "a" + ")" * 5000, "!" * 20_000 + "a", f"a[{'9' * 5000}]"])
def test_an_expression_that_is_too_large_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a.b", 1),
        ("c[?n > `1`].n", [2, 3]),
        ("missing.deep", None),
        ("length(c)", 3),
        ("{x: a.b, y: c[0].n}", {"x": 1, "y": 1}),
        ("a.b == `1` && length(c) > `2`", True),
        ("sort_by(c, &n)[-1].n", 3),
        ("@", {"a": {"b": 1}, "c": [{"n": 1}, {"n": 2}, {"n": 3}]}),
    ],
)
def test_an_expression_is_evaluated_over_json_data(text: str, value: object) -> None:
    data = {"a": {"b": 1}, "c": [{"n": 1}, {"n": 2}, {"n": 3}]}
    assert compile_expression(text).search(data) == value


@pytest.mark.parametrize("text", ["length(a.b)", "sum(c)", "sort_by(c, &m)", "a.b | abs('x')"])
def test_a_function_over_the_wrong_type_is_our_error(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text).search({"a": {"b": 1}, "c": [{"n": 1, "m": "x"}, {"n": 2, "m": 1}]})


def test_a_reference_to_an_expression_is_no_value() -> None:
    with pytest.raises(ExpressionError):
        compile_expression("[&a]").search({"a": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("abc", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
PIECES = st.sampled_from(
    [
        "a",
        "b",
        ".c",
        "[0]",
        "[]",
        "[*]",
        "[?a]",
        "*",
        "@",
        "&a",
        "`1`",
        "'x'",
        "==",
        "&&",
        "||",
        "!",
        "|",
        "length(",
        ")",
        "(",
        ",",
        "{",
        "}",
        ":",
    ]
)


# What reads its whole input without '@' (see the expected failure above).
READS_EVERYTHING = re.compile(r"(^|[^\w)\]}@'`])(\*|\[)")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.lists(PIECES, min_size=1, max_size=8).map("".join), data=st.dictionaries(st.sampled_from("abc"), JSON))
def test_any_text_is_an_expression_or_our_error_and_so_is_its_evaluation(text: str, data: dict[str, object]) -> None:
    try:
        compile_expression(text).search(data)
    except ExpressionError:
        return


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.lists(PIECES, min_size=1, max_size=8).map("".join), data=st.dictionaries(st.sampled_from("abc"), JSON))
def test_nothing_outside_the_paths_matters(text: str, data: dict[str, object]) -> None:
    """Take away every name that the expression does not say it reads: its value is the same."""
    try:
        expression = compile_expression(text)
        before = expression.search(data)
    except ExpressionError:
        return
    if () in expression.paths or READS_EVERYTHING.search(text) or "&a" in text:
        return
    roots = {path[0] for path in expression.paths}
    assert expression.search({name: value for name, value in data.items() if name in roots}) == before
