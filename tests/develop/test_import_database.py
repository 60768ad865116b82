"""``stepgraph import database``: tables become types, operations and links along foreign keys, which answer what SQL does."""

import asyncio
import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest

from gateway.develop.importing.database.configuration import import_database
from gateway.develop.importing.result import Imported, ImportFault
from playground.demo.warehouse import seed
from resolvers.warehouse import Warehouse, WarehouseSourceKeys
from tests.kit.imported import data, written
from tests.kit.serving import serving

POSTGRES = os.environ.get("STEPGRAPH_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")

SHOP = """
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, "e mail" TEXT, vip BOOLEAN);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), approver_id INTEGER REFERENCES customers (id),
  total DECIMAL(10, 2), "order" INT
);
CREATE TABLE order_items (order_id INTEGER REFERENCES orders (id), line INTEGER, sku TEXT, PRIMARY KEY (order_id, line));
CREATE TABLE shipments (order_id INTEGER PRIMARY KEY REFERENCES orders (id), carrier TEXT);
CREATE TABLE notes (order_id INTEGER, line INTEGER, said TEXT, FOREIGN KEY (order_id, line) REFERENCES order_items (order_id, line));
CREATE TABLE parts (id INTEGER PRIMARY KEY, parent_id INTEGER REFERENCES parts (id), status_code TEXT);
CREATE VIEW order_status AS SELECT id AS order_id, 'open' AS status FROM orders;
INSERT INTO customers VALUES (1, 'Ann', 'ann@example.org', true), (2, 'Bob', NULL, false);
INSERT INTO orders VALUES (10, 1, 2, 12.5, 1), (11, 1, NULL, 3, 2), (12, 2, NULL, NULL, NULL);
INSERT INTO order_items VALUES (10, 1, 'a'), (10, 2, 'b');
INSERT INTO shipments VALUES (10, 'post');
INSERT INTO parts VALUES (1, NULL, 'x'), (2, 1, 'y');
"""
QUERY = """{
  customer(id: 1) { id name e_mail vip orders_by_customer { id approver { name } order_items { line sku } shipment { carrier } } }
  customers(limit: 1, offset: 1) { name vip orders_by_approver { id customer { name } } }
  orders { id total order shipment { order { id } } }
  order_item(order_id: 10, line: 2) { sku order { customer_id } }
  parts { id parent { id } parts { id } }
  order_status(limit: 1) { status }
  none: customer(id: 99) { id }
}"""
ANSWER = {
    "customer": {
        "id": "1",
        "name": "Ann",
        "e_mail": "ann@example.org",
        "vip": True,
        "orders_by_customer": [
            {
                "id": "10",
                "approver": {"name": "Bob"},
                "order_items": [{"line": 1, "sku": "a"}, {"line": 2, "sku": "b"}],
                "shipment": {"carrier": "post"},
            },
            {"id": "11", "approver": None, "order_items": [], "shipment": None},
        ],
    },
    "customers": [{"name": "Bob", "vip": False, "orders_by_approver": [{"id": "10", "customer": {"name": "Ann"}}]}],
    "order_item": {"sku": "b", "order": {"customer_id": "1"}},
    "parts": [{"id": "1", "parent": None, "parts": [{"id": "2"}]}, {"id": "2", "parent": {"id": "1"}, "parts": []}],
    "order_status": [{"status": "open"}],
    "none": None,
}


def sqlite(path: Path, script: str) -> str:
    """Make a SQLite file and return its URL."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
    return f"sqlite:///{path}"


def imported(path: Path, script: str) -> Imported:
    return import_database(sqlite(path, script), "public", path.parent, "shop")


async def answered(folder: Path) -> None:
    """Ask everything of an imported shop and compare."""
    async with serving(folder) as gateway:
        found = await data(gateway, QUERY)
    orders = found.pop("orders")
    assert found == ANSWER
    of_orders = [(order["id"], float(order["total"] or 0), order["order"], order["shipment"]) for order in orders]
    assert of_orders == [("10", 12.5, 1, {"order": {"id": "10"}}), ("11", 3.0, 2, None), ("12", 0.0, None, None)]


# -- SQLite


def test_the_demo_warehouse_answers_through_its_import(tmp_path: Path) -> None:
    seed(tmp_path / "warehouse.db")
    result = import_database(f"sqlite:///{tmp_path / 'warehouse.db'}", "public", tmp_path / "wh")
    assert (result.name, result.operations, result.types) == ("warehouse", 6, 3)

    async def scenario() -> None:
        async with serving(await asyncio.to_thread(written, result, tmp_path / "wh")) as gateway:
            found = await data(
                gateway,
                '{ risk_profile(customer_id: 42) { score segment } credit_by_tier(tier: "gold") { credit_limit }'
                ' ltv(limit: 2) { month } ltv_by_customer_id_and_month(customer_id: 42, month: "x") { revenue } }',
            )
        with closing(sqlite3.connect(tmp_path / "warehouse.db")) as connection:
            row = connection.execute("SELECT score, segment FROM risk_profiles WHERE customer_id = '42'").fetchone()
            limit = connection.execute("SELECT credit_limit FROM credit WHERE tier = 'gold'").fetchone()[0]
        assert found["risk_profile"] == {"score": row[0], "segment": row[1]}
        assert found["credit_by_tier"] == {"credit_limit": limit}
        assert len(found["ltv"]) == 2
        assert found["ltv_by_customer_id_and_month"] is None

    asyncio.run(scenario())


def test_foreign_keys_become_links_in_both_directions(tmp_path: Path) -> None:
    asyncio.run(answered(written(imported(tmp_path / "shop.db", SHOP), tmp_path / "shop")))


def test_a_link_is_batched_and_its_files_are_readable(tmp_path: Path) -> None:
    result = imported(tmp_path / "shop.db", SHOP)
    assert list(result.files) == ["source.yaml", "operations.yaml", "links.yaml", "types.graphql"]
    assert """
field: OrderItem.order
returns: Order
step:
  type: warehouse
  source: shop
  query: SELECT id, customer_id, approver_id, total, "order" FROM orders WHERE id IN (:keys)
  params: { keys: "{keys}" }
  batch: { key: order_id, match: id }
---
field: Order.order_items
returns: "[OrderItem!]"
step:
  type: warehouse
  source: shop
  query: SELECT order_id, line, sku FROM order_items WHERE order_id IN (:keys) ORDER BY order_id, line
  params: { keys: "{keys}" }
  batch: { key: id, match: order_id }
""" in result.files["links.yaml"]
    assert """
operation: order_item
args: { order_id: ID!, line: Int! }
steps:
  - name: one
    type: warehouse
    source: shop
    query: SELECT order_id, line, sku FROM order_items WHERE order_id = :order_id AND line = :line
    params: { order_id: "{order_id}", line: "{line}" }
    returns: OrderItem
aggregation: { strategy: pick, step: one }
""" in result.files["operations.yaml"]
    assert [item.subject for item in result.left_out] == ["notes(order_id, line) → order_items"]


def test_a_relative_path_is_written_relative_to_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sqlite(tmp_path / "shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    for folder in (None, Path("shop")):
        result = import_database("sqlite:///shop.db", "public", folder)
        assert result.name == "shop"
        assert "url: ${SHOP_URL:-sqlite:///../shop.db}" in result.files["source.yaml"]


def test_odd_names_and_types_of_columns_get_valid_ones(tmp_path: Path) -> None:
    script = """
    CREATE TABLE "order-lines" ("limit" INT NOT NULL, "1st" BIGINT, "a b" REAL, "a_b" TEXT, data BLOB, any_thing, keys TEXT PRIMARY KEY);
    CREATE TABLE only_bytes (data BLOB);
    INSERT INTO "order-lines" VALUES (1, 5000000000, 1.5, 'x', x'00', 'y', 'k');
    """
    result = imported(tmp_path / "odd.db", script)
    written(result, tmp_path / "odd")
    assert """
type OrderLine {
  limit: Int!
  _1st: BigInt
  a_b2: Float
  a_b: String
  any_thing: JSON
  keys: ID!
}
""" in result.files["types.graphql"]

    async def scenario() -> None:
        async with serving(tmp_path / "odd") as gateway:
            row = {"limit": 1, "_1st": "5000000000", "a_b2": 1.5, "a_b": "x", "any_thing": "y", "keys": "k"}
            found = await data(gateway, f'{{ order_lines {{ {" ".join(row)} }} order_line(keys2: "k") {{ keys }} }}')
            assert found == {"order_lines": [row], "order_line": {"keys": "k"}}

    asyncio.run(scenario())
    assert [item.subject for item in result.left_out] == ["only_bytes.data", "only_bytes", "order-lines.data"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///nowhere.db", "there is no file nowhere.db; a SQLite URL is"),
        ("sqlite:///pyproject.toml", "pyproject.toml cannot be read as a SQLite database: file is not a database"),
        ("sqlite:///", "a SQLite URL is sqlite:///relative.db or"),
        ("mysql://root:secret@host/x", "'mysql://root@host/x' is no URL of a database"),
        (
            "postgresql://postgres:secret@127.0.0.1:1/test",
            r"^postgresql://postgres@127.0.0.1:1/test cannot be read: .*(refused|failed)",
        ),
    ],
)
def test_what_cannot_be_read_is_named_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ImportFault, match=message):
        import_database(url, "public", None)


def test_a_database_without_tables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportFault, match=r"empty\.db has no tables"):
        imported(tmp_path / "empty.db", "")


# -- PostgreSQL


@pytest.fixture
def schema() -> Iterator[str]:
    """Make a schema of the shop, and drop it."""
    name = f"import_{uuid.uuid4().hex[:12]}"
    more = """
    CREATE TYPE mood AS ENUM ('happy', 'sad');
    CREATE DOMAIN email AS text;
    CREATE TABLE kinds (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood NOT NULL, code uuid UNIQUE, amount numeric(10, 2), made timestamptz,
      born date, extra jsonb, tags text[], host inet, photo bytea, mail email
    );
    COMMENT ON TABLE kinds IS 'One of each kind.';
    COMMENT ON COLUMN kinds.mood IS 'How it feels.';
    INSERT INTO kinds (mood, code, amount, made, born, extra, tags, host, mail) VALUES ('sad', '00000000-0000-0000-0000-000000000001',
      1.50, '2024-01-02T03:04:05Z', '2024-01-02', '{"a": [1]}', '{x,y}', '10.0.0.0/8', 'a@example.org');
    """

    async def execute(*scripts: str) -> None:
        connection = await asyncpg.connect(POSTGRES, timeout=5)
        try:
            for script in scripts:
                await connection.execute(script)
        finally:
            await connection.close()

    try:
        asyncio.run(execute(f'CREATE SCHEMA "{name}"'))
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL server (STEPGRAPH_TEST_POSTGRESQL): {type(error).__name__}")
    try:
        asyncio.run(execute(f'SET search_path TO "{name}"; {SHOP} {more}'))
        yield name
    finally:
        asyncio.run(execute(f'DROP SCHEMA "{name}" CASCADE'))


@pytest.mark.usefixtures("schema")
def test_a_database_or_schema_that_postgresql_does_not_have_is_named() -> None:
    with pytest.raises(ImportFault, match=r"cannot be read: database \"no_such_database\" does not exist"):
        import_database(f"{POSTGRES.rpartition('/')[0]}/no_such_database", "public", None)
    with pytest.raises(ImportFault, match=r"the schema 'no_such' of .* has no tables; choose another schema with --schema"):
        import_database(POSTGRES, "no_such", None)


def test_a_postgresql_schema_becomes_types_operations_and_links(schema: str) -> None:
    result = import_database(POSTGRES.replace("@", ":secret@") + "?sslmode=prefer&password=secret", schema, None)
    assert f"{POSTGRES}?sslmode=prefer}}" in result.files["source.yaml"]
    assert result.name == POSTGRES.rpartition("/")[2]
    assert (result.operations, result.types, result.links) == (14, 9, 10)
    assert "# The password stands in no file" in result.files["source.yaml"]
    assert not any("secret" in text for text in result.files.values())
    assert """
"One of each kind."
type Kind {
  id: ID!
  "How it feels."
  mood: Mood!
  code: UUID
  amount: Decimal
  made: DateTime
  born: Date
  extra: JSON
  tags: [String]
  host: String
  mail: String
}
""" in result.files["types.graphql"]
    assert "enum Mood {\n  happy\n  sad\n}" in result.files["types.graphql"]
    columns = "id, mood, code, amount, made, born, extra, tags, host::text AS host, mail"
    assert f"{columns} FROM {schema}.kinds WHERE id = :id" in " ".join(result.files["operations.yaml"].split())


def speaks_postgresql() -> bool:
    """Tell whether the step type ``warehouse`` has PostgreSQL."""
    return not list(Warehouse().check_source(WarehouseSourceKeys(type="warehouse", url=POSTGRES)))


@pytest.mark.skipif(not speaks_postgresql(), reason="the step type 'warehouse' does not speak PostgreSQL")
def test_a_postgresql_schema_answers_through_its_import(schema: str, tmp_path: Path) -> None:
    folder = written(import_database(POSTGRES, schema, None), tmp_path / "shop")

    async def scenario() -> None:
        await answered(folder)
        async with serving(folder) as gateway:
            found = await data(gateway, "{ kind(id: 1) { mood code amount born extra tags host mail } kinds { id } }")
        assert found == {
            "kind": {
                "mood": "sad",
                "code": "00000000-0000-0000-0000-000000000001",
                "amount": found["kind"]["amount"],
                "born": "2024-01-02",
                "extra": {"a": [1]},
                "tags": ["x", "y"],
                "host": "10.0.0.0/8",
                "mail": "a@example.org",
            },
            "kinds": [{"id": "1"}],
        }
        assert float(found["kind"]["amount"]) == 1.5

    asyncio.run(scenario())
