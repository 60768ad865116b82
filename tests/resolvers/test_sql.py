"""SQL text: which placeholders it has, and what is no single statement that reads.

What is accepted here is run by SQLite below where that tells more than reading: a placeholder that is found in a quote, or missed,
makes the driver refuse the parameters.
"""

import sqlite3
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolvers import STEP_TYPES
from resolvers.databases.sql.text import expand_lists, list_placeholders, quoted_function_calls, quoted_references, read_statement
from resolvers.warehouse import WarehouseKeys


def placeholders(query: str) -> tuple[tuple[str, ...], int]:
    statement = read_statement(query)
    assert statement.mistakes == (), query
    return statement.named, statement.positional


def mistakes(query: str) -> str:
    return " | ".join(read_statement(query).mistakes)


# -- placeholders


@pytest.mark.parametrize(
    ("query", "named", "positional"),
    [
        ("SELECT 1", (), 0),
        ("SELECT score, segment FROM risk_profiles WHERE customer_id = ?", (), 1),
        ("SELECT * FROM t WHERE a = ? AND b IN (?,?)", (), 3),
        ("SELECT * FROM t WHERE a = :a AND b = :b_2 AND c = :a", ("a", "b_2", "a"), 0),
        ("SELECT * FROM t WHERE a=:a", ("a",), 0),
        ("SELECT (:a), -:b, :c||:d", ("a", "b", "c", "d"), 0),
        # casts
        ("SELECT a::text FROM t WHERE b = :b::int", ("b",), 0),
        ("SELECT '1'::int, ?::text", (), 1),
        # texts
        ("SELECT ':a ? {x}' FROM t WHERE b = :b", ("b",), 0),
        ("SELECT 'it''s :a ?' , ?", (), 1),
        ("SELECT '12:30', '?', '--', '/*', :a", ("a",), 0),
        ("SELECT '' , :a", ("a",), 0),
        ("SELECT '''', :a, ''''", ("a",), 0),
        ("SELECT 'line\n:a', :b", ("b",), 0),
        # names
        ('SELECT "a:b", "c?" FROM t WHERE d = :d', ("d",), 0),
        ('SELECT "a"":b", ?', (), 1),
        ("SELECT `a:b`, `c?`, ?", (), 1),
        # comments
        ("SELECT 1 -- :a ? ; '\n, :b", ("b",), 0),
        ("SELECT 1 /* ? :a ; ' */ , :b", ("b",), 0),
        ("/* first */ -- second\nSELECT ?", (), 1),
        ("SELECT 1 - -1, 4 / 2, ? --", (), 1),
        ("SELECT ? /**/", (), 1),
        # JSON
        ("SELECT a->>'$.b', json_extract(a, '$.c') FROM t WHERE d = :d", ("d",), 0),
    ],
)
def test_placeholders_are_found_and_what_stands_in_quotes_comments_and_casts_is_none(
    query: str, named: tuple[str, ...], positional: int
) -> None:
    assert placeholders(query) == (named, positional)


@pytest.mark.parametrize("query", ["SELECT ?1, ?2", "SELECT @a", "SELECT $b", "SELECT :a, @b"])
def test_other_placeholders_are_refused_with_those_that_are_known(query: str) -> None:
    assert "write '?' or ':name'" in mistakes(query)


@pytest.mark.parametrize("query", ["SELECT $1", "SELECT @1", "SELECT :1", "SELECT :é", "SELECT $é"])
def test_every_placeholder_of_sqlite_is_found_or_refused(query: str) -> None:
    with pytest.raises(sqlite3.Error, match="binding"):
        sqlite3.connect(":memory:").execute(query)
    statement = read_statement(query)
    assert statement.named or statement.mistakes


@pytest.mark.parametrize("query", ["SELECT {id}", "SELECT * FROM t WHERE a = {a.b}", "SELECT * FROM {table}"])
def test_a_reference_in_sql_is_refused_with_the_way_to_bind_it(query: str) -> None:
    assert "would be spliced into the SQL; bind it" in mistakes(query)
    assert "'params:'" in mistakes(query)


# -- one statement that reads


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "SELECT*FROM t",
        "VALUES (1)",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "with recursive c(n) as (values(1) union all select n+1 from c where n < 9) select n from c",
        "SELECT 1 UNION SELECT 2",
        "SELECT 1;",
        "SELECT 1 ; -- end",
        "SELECT ';', 1",
        "SELECT 1 /* ; */ -- ;",
        "SELECT replace(a, 'x', 'y') FROM t",
        "WITH a AS (SELECT 1) SELECT replace(x, 'a', 'b') FROM a",
        "SELECT 'delete from t', \"update\", [drop], `insert` FROM t",
        "WITH a AS (SELECT 1) SELECT 'delete', \"update\", [drop], `insert` FROM a",
        "WITH a AS (SELECT 1) SELECT update_count, deleted FROM a",
        "SELECT begin, commit, copy, merge FROM t",
        "SELECT 'load_extension'",
        "  \n SELECT 1",
    ],
)
def test_a_statement_that_reads_is_accepted(query: str) -> None:
    assert mistakes(query) == ""


@pytest.mark.parametrize(
    "query",
    [
        "WITH t AS (SELECT 1) SELECT begin, merge FROM t",
        "WITH t AS (SELECT 1) SELECT commit FROM t",
        "WITH t AS (SELECT 1) SELECT copy, grant FROM t",
        "WITH t AS (SELECT 1) SELECT t.update FROM t",
    ],
)
def test_a_column_behind_a_with_may_be_named_like_a_statement(query: str) -> None:
    assert mistakes(query) == ""


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("DELETE FROM t", "DELETE"),
        ("insert into t values (1)", "INSERT"),
        ("REPLACE INTO t VALUES (1)", "REPLACE"),
        ("Update t SET a = 1", "UPDATE"),
        ("DROP TABLE t", "DROP"),
        ("ATTACH 'x.db' AS x", "ATTACH"),
        ("PRAGMA journal_mode = OFF", "PRAGMA"),
        ("PRAGMA table_info(t)", "PRAGMA"),
        ("VACUUM INTO 'x.db'", "VACUUM"),
        ("BEGIN", "BEGIN"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("/* SELECT */ DELETE FROM t", "DELETE"),
        ("-- SELECT\nDELETE FROM t", "DELETE"),
        ("'SELECT' DELETE", "DELETE"),
        ("WITH a AS (SELECT 1) DELETE FROM t", "DELETE"),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", "INSERT"),
        ("WITH a AS (SELECT 1) UPDATE t SET b = 1", "UPDATE"),
        ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", "DELETE"),
        ("SELECT load_extension('x')", "load_extension"),
        ("SELECT LOAD_EXTENSION ('x')", "load_extension"),
        ("", "nothing"),
        (" \n", "nothing"),
        ("-- only a comment", "nothing"),
        ("/* SELECT 1 */", "nothing"),
        ("SELECTx", "SELECTX"),
        ("x SELECT 1", "X"),
    ],
)
@pytest.mark.case("I-07")
def test_what_does_not_read_is_refused_by_name(query: str, word: str) -> None:
    assert word.lower() in mistakes(query).lower()


@pytest.mark.parametrize(
    "query",
    ["WITH a AS (SELECT 1) REPLACE INTO t SELECT * FROM a", "SELECT \"load_extension\"('x')", "SELECT [load_extension]('x')"],
)
def test_what_writes_or_loads_in_disguise_is_refused(query: str) -> None:
    assert mistakes(query)


@pytest.mark.parametrize(
    "query",
    ["SELECT 1; SELECT 2", "SELECT 1; DELETE FROM t", ";SELECT 1", "SELECT 1;;", "SELECT 1; -- c\n x", "SELECT 1 ; 'x'; "],
)
@pytest.mark.case("I-07")
def test_a_second_statement_is_refused(query: str) -> None:
    assert "one statement" in mistakes(query)


def test_a_text_behind_the_semicolon_is_a_second_statement() -> None:
    assert "one statement" in mistakes("SELECT 1; 'x'")


@pytest.mark.parametrize("query", ["SELECT 'a", 'SELECT "a', "SELECT [a", "SELECT `a", "SELECT 'it''s", "SELECT 1 /* :a"])
def test_a_quote_that_is_not_closed_is_refused(query: str) -> None:
    assert "closed" in mistakes(query)


def test_all_mistakes_come_at_once() -> None:
    found = read_statement("DELETE FROM t WHERE a = {a} AND b = ?1; x").mistakes
    assert len(found) == 4


# -- a statement and its parameters


def checked(query: str, params: object = None, arguments: tuple[str, ...] = ()) -> list[tuple[object, str]]:
    keys = WarehouseKeys.model_validate({"name": "x", "type": "warehouse", "query": query, "params": params})
    return [(problem.key, problem.code) for problem in STEP_TYPES["warehouse"].check(keys, arguments)]


@pytest.mark.parametrize(
    ("query", "params", "arguments"),
    [
        ("SELECT 1", None, ("a", "b")),
        ("SELECT ?", None, ("a",)),
        ("SELECT ?, ?", None, ("a", "b")),
        ("SELECT ?, ?", ["{a}", 5], ()),
        ("SELECT :a, :a, :b", {"a": 1, "b": "{c}"}, ("c",)),
        ("SELECT 1", [], ()),
        ("SELECT 1", {}, ()),
        ("SELECT ':a', ?", None, ("a",)),
    ],
)
def test_placeholders_and_parameters_that_fit_are_no_problem(query: str, params: object, arguments: tuple[str, ...]) -> None:
    assert checked(query, params, arguments) == []


@pytest.mark.parametrize(
    ("query", "params", "arguments", "problems"),
    [
        ("SELECT ?", None, (), [("query", "parameter-count")]),
        ("SELECT ?", None, ("a", "b"), [("query", "parameter-count")]),
        ("SELECT ?", [1, 2], ("a",), [("query", "parameter-count")]),
        ("SELECT ?", [], ("a",), [("query", "parameter-count")]),
        ("SELECT 1", [1], (), [("query", "parameter-count")]),
        ("SELECT :a", None, ("a",), [("query", "missing-parameter")]),
        ("SELECT :a, :b, :a", {"b": 1}, (), [("query", "missing-parameter")]),
        ("SELECT :a", {"a": 1, "b": 2}, (), [(("params", "b"), "unused-parameter")]),
        ("SELECT 1", {"a": 1}, (), [(("params", "a"), "unused-parameter")]),
        ("SELECT ?", {"a": 1}, (), [(("params", "a"), "unused-parameter")]),
        ("SELECT :a, ?", {"a": 1}, (), [("query", "bad-sql")]),
        ("SELECT {a}", {"a": 1}, (), [("query", "bad-sql")]),
    ],
)
def test_placeholders_and_parameters_that_do_not_fit_are_problems(
    query: str, params: object, arguments: tuple[str, ...], problems: list[tuple[str, str]]
) -> None:
    assert checked(query, params, arguments) == problems


def test_a_list_for_named_placeholders_is_a_problem_of_the_list() -> None:
    assert ("params", "wrong-type") in checked("SELECT :a", [1])


def test_a_list_for_named_placeholders_is_one_problem() -> None:
    assert checked("SELECT :a, :b", [1, 2]) == [("params", "wrong-type")]


# -- against SQLite itself


PIECES = st.sampled_from(
    [
        "1",
        "'a'",
        "':x'",
        "'?'",
        "''''",
        '"c"',
        "[d]",
        "`e`",
        ":a",
        ":b1",
        "?",
        ",",
        "||",
        "+",
        " ",
        "\n",
        "-- :x ?\n",
        "/* ? :x */",
        "--",
    ]
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(parts=st.lists(PIECES, max_size=8).map(", ".join))
def test_a_query_that_sqlite_accepts_has_just_the_placeholders_that_were_found(parts: str) -> None:
    query = f"SELECT 0, {parts}"
    statement = read_statement(query)
    if statement.mistakes or (statement.named and statement.positional):
        return
    params: dict[str, int] | list[int] = dict.fromkeys(statement.named, 1) if statement.named else [1] * statement.positional
    assert sqlite_error(query, params) in {"", "syntax"}


def sqlite_error(query: str, params: dict[str, int] | list[int]) -> str:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(query, params)
    except sqlite3.OperationalError:
        return "syntax"
    except sqlite3.Error as error:
        return str(error)
    finally:
        connection.close()
    return ""


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=st.text(string.printable + "é\x00", max_size=40))
def test_any_text_is_a_statement_or_has_mistakes(text: str) -> None:
    statement = read_statement(text)
    assert statement.positional >= 0
    assert all(mistake.strip() for mistake in statement.mistakes)


def test_a_long_statement_is_read_in_one_pass() -> None:
    assert placeholders("SELECT " + "'a', :b, " * 10_000 + "1") == (("b",) * 10_000, 0)
    assert read_statement("SELECT " + "'" * 99_999).named == ()
    assert read_statement("SELECT " + "/*" * 50_000).named == ()


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("SELECT 1 FROM t WHERE a IN (:a) AND b NOT IN ( :b )", {"a", "b"}),
        ("SELECT 1 FROM t WHERE a = :a", set()),
        ("SELECT 1 FROM t WHERE :a = 1 OR a IN (:a)", set()),
        ("SELECT 1 FROM t WHERE a = 'a IN (:a)' AND a IN (:b, :c)", set()),
    ],
)
def test_a_placeholder_stands_for_a_list_only_where_it_is_all_of_it(query: str, names: set[str]) -> None:
    assert list_placeholders(query) == names
    given = set(read_statement(query).named)
    _, params = expand_lists(query, {name: ["x", "y"] for name in given})
    assert given & params.keys() == given - names


def test_braces_in_quotes_are_text_and_quoted_names_that_are_called_are_functions() -> None:
    assert list(quoted_references("SELECT '{id}', \"{a.b?}\", '{1,2}', {c} -- '{d}'")) == [("{id}", "id"), ("{a.b?}", "a")]
    assert list(quoted_function_calls('SELECT "F" (1), `g`(2), "column", h(3), "i"/*x*/(4)')) == ["f", "g", "i"]
    assert read_statement("SELECT '{id}'").mistakes == ()
