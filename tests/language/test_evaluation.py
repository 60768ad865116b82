"""Evaluation within a budget: the same results as the library, the work of everything that grows bounded, on the loop and in threads."""

import asyncio
import time
from typing import Any

import jmespath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.language import evaluation
from gateway.language.evaluation import MAX_INLINE, MAX_WORK, Budget, TimedBudget
from gateway.language.expression import ExpressionError, TooMuchWork, compile_expression, search_in_thread
from tests.kit.timing import least_cpu_seconds

DATA: Any = {
    "items": [{"a": number % 7, "b": str(number), "c": {"d": [number, {"e": None}]}} for number in range(50)],
    "names": ["x", "z", "y", "x"],
    "object": {"p": 1, "q": [1, 2], "r": {"s": "t"}},
    "text": "text",
    "zero": 0,
    "empty": [],
}
EXPRESSIONS = [
    "items[].a",
    "items[*].c.d[]",
    "items[?a > `3`].{n: b, c: c.d[0]}",
    "items[?c.d[1].e].b",
    "items[?!contains(b, '1')] | [0]",
    "object.*",
    "object.*.s",
    "items[].c.*[]",
    "sort_by(items, &a)[].b",
    "sort_by(items, &b)[].a",
    "sort_by(empty, &a)",
    "sort(names)",
    "max_by(items, &a).b",
    "min_by(items, &b).b",
    "map(&c.d[0], items)",
    "map(&[a, b], items)",
    "to_string(items)",
    "to_string(text)",
    "to_string(zero)",
    "items[].to_string(c)",
    "join(', ', names)",
    "join(text, items[].b)",
    "reverse(names)",
    "merge(object, {p: zero})",
    "keys(object)",
    "values(object)",
    "sum(items[].a)",
    "avg(items[].a)",
    "length(items[?a == `1` || a == zero])",
    "items[10:20:3].a",
    "names | [@, @] | [@, @][] | [@, @][][]",
    "{a: items[0], b: names, c: [text, text]}",
    "zero && text",
    "empty || text",
    "nothing[].a",
    "text[].a",
    "zero.*",
    "not_null(nothing, text)",
    "to_array(text)",
    "items[].[b, a] | [?[1] == `0`][]",
]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_result_is_that_of_the_library_whatever_is_sliced(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = jmespath.search(text, DATA)
    assert compile_expression(text).search(DATA) == expected
    for name in ("SLICE", "SORTED_AT_ONCE", "MAX_INLINE"):
        monkeypatch.setattr(evaluation, name, 3)
    assert compile_expression(text).search_within(DATA, Budget(MAX_WORK)) == expected


@pytest.mark.parametrize(
    "text", ["sort_by(items, &c)", "sort_by(mixed, &a)", "sum(names)", "sort(object)", "join(items, names)", "max_by(items, &c)"]
)
def test_an_error_is_that_of_the_library(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {**DATA, "mixed": [{"a": 1}, {"a": 2}, {"a": "x"}]}
    with pytest.raises(jmespath.exceptions.JMESPathError) as raised:
        jmespath.search(text, data)
    monkeypatch.setattr(evaluation, "SORTED_AT_ONCE", 2)
    with pytest.raises(ExpressionError) as own:
        compile_expression(text).search(data)
    assert str(own.value) == str(raised.value)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers()), max_size=60))
def test_a_long_list_is_sorted_in_pieces_as_in_one(pairs: list[tuple[int, int]]) -> None:
    items = [{"key": key, "value": value} for key, value in pairs]
    original, evaluation.SORTED_AT_ONCE = evaluation.SORTED_AT_ONCE, 7
    try:
        assert compile_expression("sort_by(@, &key)").search(items) == sorted(items, key=lambda item: item["key"])
    finally:
        evaluation.SORTED_AT_ONCE = original


MANY = [{"a": number, "b": str(number), "c": {"d": number}, "e": [number, [number]]} for number in range(200_000)]
LARGE: dict[str, Any] = {
    "items": MANY,
    "numbers": list(range(400_000)),
    "text": "x" * 2_000_000,
    "object": dict.fromkeys(map(str, range(200_000)), 1),
}
HEAVY = [
    "sort_by(items[], &b)[].b | length(@)",
    "sort_by(items, &a)",
    "items[].a",
    "items[*].c.d",
    "items[].e[][]",
    "items[*].e[*]",
    "items[?a > `5`].b",
    "items[?c.d == `7` && b != 'x']",
    "items[].{a: a, b: b}",
    "items[].[a, b]",
    "map(&c.d, items)",
    "object.*",
    "max_by(items, &a)",
    "min_by(items, &b)",
    "to_string(items)",
    "items[].to_string(@)",
    "join(',', items[].b)",
    "join(text, items[:1000].b)",
    "sort(numbers)",
    "reverse(numbers)",
    "numbers | [@, @, @][]",
    "numbers | [@, @][] | [@, @][] | [@, @][] | [@, @][]",
    "{a: items, b: items[].a}",
    "items[?contains(e, `-1`)]",
    "sum(numbers)",
    "values(object)",
    "merge(object, object)",
    "numbers | [@, @, @] | [@, @, @] | to_string(@)",
]


@pytest.mark.parametrize("text", HEAVY)
def test_over_a_large_value_it_gives_up_on_the_loop_at_once(text: str) -> None:
    expression = compile_expression(text)

    def search() -> None:
        with pytest.raises(TooMuchWork):
            expression.search(LARGE)

    assert least_cpu_seconds(search, 0.05) < 0.1  # 15 ms as a rule


@pytest.mark.parametrize("text", ["items[].a", "sort_by(items[:40000], &b)[0].b", "numbers | [@, @] | to_string(@) | length(@)"])
def test_in_a_thread_it_has_the_result(text: str) -> None:
    assert asyncio.run(search_in_thread(compile_expression(text), LARGE, 60)) == jmespath.search(text, LARGE)


def test_in_a_thread_it_ends_at_its_timeout_and_so_does_the_thread() -> None:
    async def act() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await search_in_thread(compile_expression("sort_by(items, &b)"), LARGE, 0.02)
        # Both threads are free again: the next two evaluations do not wait for their end.
        small = compile_expression("items[:5].a")
        await asyncio.gather(*(search_in_thread(small, LARGE, 60) for _ in range(2)))
        return time.monotonic() - began

    assert asyncio.run(act()) < 5


def test_a_list_is_looked_through_for_each_of_many_items_within_the_budget() -> None:
    pairs = [{"id": number, "ids": list(range(3000))} for number in range(6000)]
    expression = compile_expression("length([?contains(ids, id)])")
    assert expression.search_within(pairs, TimedBudget(time.monotonic() + 60)) == 3000


def test_the_work_and_memory_in_a_thread_are_bounded() -> None:
    doubled = compile_expression("numbers | [@, @, @][] | [@, @, @][] | [@, @, @][] | [@, @, @][]")  # 32 million items
    with pytest.raises(TooMuchWork):
        doubled.search_within(LARGE, TimedBudget(time.monotonic() + 60))


MULTIPLYING = [
    "[`1`, `2`]" + " | [@, @][]" * 22 + " | length(@)",
    "a" + " | [@, @]" * 22,
    "a" + " | {a: @, b: @}" * 22,
    "a" + " | [@, @][]" * 7,
    "a[].{a: @, b: @}" + " | [].{a: @, b: @}" * 7,
    "a" + " | [@, @] | join('', @)" * 8,
    "a" + " | merge({a: @}, {b: @})" * 8,
    "a" + " | map(&[@, @], @)" * 8,
    "a" + " | to_string(@)" * 8,
    "a" + " | (b || [@, @])" * 8,
    "a" + " | to_array([@, @])" * 8,
    "a" + " | [@, @] | reverse(@)" * 8,
    "a" + " | sort_by([@, @], &b)" * 8,
    "a" + " | [b, b]" * 8,
    "length(" + "a" + " | [@, @]" * 8 + ")",
    "a == (" + "b" + " | [@, @]" * 8 + ")",
    "a[?(b" + " | [@, @]" * 8 + ") == c]",
    "a" + " | [@ | @, @ | @]" * 8,
    "[" + ", ".join(["@"] * 101) + "]",
]


@pytest.mark.parametrize("text", MULTIPLYING)
def test_an_expression_that_multiplies_its_input_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError, match="contain its input more than 100 times"):
        compile_expression(text)


ORDINARY = [
    "{" + ", ".join(f"f{number}: f{number}" for number in range(60)) + "}" + " | {a: f1, b: f2, c: f3}" * 5,
    "orders[].{id: id, lines: lines[].{sku: sku, price: price, taxes: taxes[].{rate: rate, name: name}}}",
    "[" + ", ".join(f"length(items[?a == `{number}`])" for number in range(150)) + "]",
    "a" + " | [0]" * 200,
    "a" + ".b" * 200,
    "items[?contains(['a', 'b'], name)] | sort_by(@, &price) | reverse(@) | [:10].{name: name, price: price}",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_an_ordinary_expression_is_not_refused(text: str) -> None:
    assert compile_expression(text).text == text


def test_work_on_the_loop_is_enough_for_ordinary_values() -> None:
    items = MANY[:1000]
    assert len(compile_expression("@[?a > `5`].{a: a, b: b}").search(items)) == 994  # type: ignore[arg-type]
    assert MAX_INLINE < MAX_WORK
