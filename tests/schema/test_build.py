"""Blueprint → schema: what clients see of a configuration, as printed SDL; graphql-core judges that it is valid."""

from pathlib import Path

import pytest
from graphql import GraphQLSchema, assert_valid_schema, print_schema
from graphql import build_schema as build_from_sdl

from gateway.load.build.build import build, load
from gateway.load.read.files import Files
from gateway.schema.build import build_schema
from resolvers import STEP_TYPES
from tests.kit.paths import CHECKOUT

EXAMPLES = CHECKOUT / "schema_configs"
SOURCES = """\
sources:
  core: { type: api, base_url: http://core.internal }
  warehouse: { type: warehouse, url: sqlite:///warehouse.db }
defaults: { api: core, warehouse: warehouse }
"""


def schema_of(text: str, sdl: str = "") -> GraphQLSchema:
    texts = {"a.yaml": text, "sources.yaml": SOURCES} | ({"types.graphql": sdl} if sdl else {})
    return build_schema(build(Files(Path("config"), texts, (), "version"), STEP_TYPES, {}))


def printed(text: str, sdl: str = "") -> str:
    """Return the SDL of a schema, after a second parser has read it and found it valid."""
    schema = schema_of(text, sdl)
    sdl = print_schema(schema)
    assert_valid_schema(build_from_sdl(sdl))
    return sdl.replace("scalar JSON\n\n", "")


def test_an_operation_is_a_query_field_and_a_type_of_one_field_per_step() -> None:
    text = """\
operation: customer360
description: Everything about a customer.
steps:
  - { name: account, type: api, endpoint: "/accounts/{customer_id}" }
  - { name: risk, type: warehouse, query: SELECT 1 AS one WHERE ?, as: riskProfile }
  - { name: hidden, type: value, value: 1, expose: false }
"""
    assert (
        printed(text)
        == '''\
"""Everything about a customer."""
type Customer360 {
  account: JSON
  riskProfile: JSON
}

type Query {
  """Everything about a customer."""
  customer360(customer_id: ID!): Customer360
}'''
    )


def test_names_are_used_verbatim_and_a_type_may_be_named() -> None:
    text = """\
operation: customer_view
type: customer
args: { Some_id: ID!, filter: "[String!]", n: Int }
steps: [{ name: snake_step, type: value, value: 1 }, { name: camelStep, type: value, value: 1 }]
"""
    assert (
        printed(text)
        == """\
type customer {
  snake_step: JSON
  camelStep: JSON
}

type Query {
  customer_view(Some_id: ID!, filter: [String!], n: Int): customer
}"""
    )


def test_declared_types_are_kept_whole_with_descriptions_and_directives() -> None:
    sdl = '''\
"""Who pays."""
type Account implements Node @paid {
  "The key."
  id: ID!
  tier: Tier @deprecated(reason: "use level")
}

interface Node {
  id: ID!
}

enum Tier {
  "The best."
  gold
  basic @deprecated
}

union Any = Account | Risk

type Risk {
  score: Float
}

input Filter {
  tiers: [Tier!] = [gold]
}

scalar Date @specifiedBy(url: "https://example.com/date")

directive @paid on OBJECT
'''
    text = """\
operation: a
args: { filter: Filter, tier: Tier }
steps:
  - { name: node, type: value, value: {}, returns: Node }
  - { name: any, type: value, value: [], returns: "[Any!]" }
  - { name: account, type: value, value: {}, returns: Account! }
"""
    found = printed(text, sdl)
    for part in (
        '"""Who pays."""\ntype Account implements Node {\n  """The key."""\n  id: ID!\n',
        '  tier: Tier @deprecated(reason: "use level")\n',
        'enum Tier {\n  """The best."""\n  gold\n  basic @deprecated\n}',
        "union Any = Account | Risk",
        "input Filter {\n  tiers: [Tier!] = [gold]\n}",
        'scalar Date @specifiedBy(url: "https://example.com/date")',
        "type A {\n  node: Node\n  any: [Any!]\n  account: Account!\n}",
        "type Query {\n  a(filter: Filter, tier: Tier): A\n}",
    ):
        assert part in found


def test_a_declared_composite_keeps_its_fields_and_gets_those_that_it_has_not() -> None:
    sdl = '"What the desk sees."\ntype A {\n  "Who."\n  second: Account!\n  first: [Account]\n}\n\ntype Account {\n  id: ID\n}\n'
    text = """\
operation: a
steps:
  - { name: first, type: value, value: [] }
  - { name: second, type: value, value: {} }
  - { name: third, type: value, value: {}, returns: Account }
"""
    expected = """\
type A {
  \"\"\"Who.\"\"\"
  second: Account!
  first: [Account]
  third: Account
}"""
    found = printed(text, sdl)
    assert expected in found
    assert '"""What the desk sees."""\ntype A' in found


def test_flatten_has_the_fields_of_its_steps() -> None:
    sdl = "type User {\n  id: ID!\n  name: String\n}\n\ntype Risk {\n  score: [Float!]\n}\n"
    text = """\
operation: person
steps:
  - { name: user, type: value, value: {}, returns: User }
  - { name: risk, type: value, value: {}, returns: Risk! }
aggregation: { strategy: flatten }
"""
    assert "type Person {\n  id: ID!\n  name: String\n  score: [Float!]\n}" in printed(text, sdl)


@pytest.mark.parametrize(
    ("returns", "field"),
    [("'[Post!]!'", "[Post!]"), ("'[Post]'", "[Post]"), ("Post", "Post"), ("Post!", "Post"), ("Int!", "Int"), ("JSON", "JSON")],
)
def test_pick_makes_no_type_and_its_root_field_may_be_null(returns: str, field: str) -> None:
    text = f"operation: a\nsteps: [{{ name: x, type: value, value: 1, returns: {returns} }}]\naggregation: {{ strategy: pick, step: x }}"
    found = printed(text, "type Post {\n  id: ID\n}\n")
    assert f"type Query {{\n  a: {field}\n}}" in found
    assert "type A " not in found


@pytest.mark.parametrize("text", [" Int ", "Int,", "Int # a number", "Int\\n", "[ Int! , ]", "Int !"])
def test_a_type_may_be_written_with_spaces_and_comments(text: str) -> None:
    both = f'operation: a\nargs: {{ x: "{text}" }}\nsteps: [{{ name: y, type: value, value: "{{x}}", returns: "{text}" }}]\n'
    parsed = "[Int!]" if text.startswith("[") else "Int!" if "!" in text else "Int"
    found = build(Files(Path("config"), {"a.yaml": both}, (), "version"), STEP_TYPES, {})
    assert found.operations["a"].steps["y"].returns == parsed
    assert printed(both) == f"type A {{\n  y: {parsed}\n}}\n\ntype Query {{\n  a(x: {parsed}): A\n}}"


def test_a_json_scalar_that_the_types_declare_is_the_one_that_is_used() -> None:
    schema = schema_of("operation: a\nsteps: [{ name: x, type: value, value: 1 }]\n", '"Anything."\nscalar JSON\n')
    assert schema.type_map["JSON"].description == "Anything."
    assert print_schema(schema).count("scalar JSON") == 1


def test_operations_stand_in_the_order_of_files_and_documents() -> None:
    step = "steps: [{ name: x, type: value, value: 1 }]"
    texts = {"b.yaml": f"operation: two\n{step}\n---\noperation: one\n{step}\n", "c.yaml": f"operation: three\n{step}\n"}
    found = build_schema(build(Files(Path("config"), texts, (), "version"), STEP_TYPES, {}))
    assert found.query_type is not None
    assert list(found.query_type.fields) == ["two", "one", "three"]


def test_a_blueprint_makes_the_same_schema_again() -> None:
    found = load(EXAMPLES, STEP_TYPES, {})
    first = print_schema(build_schema(found))
    assert print_schema(build_schema(found)) == first
    assert_valid_schema(build_from_sdl(first))


def test_the_papers_operation_is_typed_by_the_types_beside_it() -> None:
    schema = build_schema(load(EXAMPLES, STEP_TYPES, {}))
    assert schema.query_type is not None
    field = schema.query_type.fields["customer360"]
    assert str(field.type) == "Customer360"
    assert {name: str(argument.type) for name, argument in field.args.items()} == {"customer_id": "ID!"}
    assert {name: str(field.type) for name, field in schema.type_map["Customer360"].fields.items()} == {  # type: ignore[attr-defined]
        "accountService": "Account",
        "transactionService": "[Transaction!]",
        "fraudSignals": "FraudSignals",
        "riskProfile": "RiskProfile",
        "disputes": "[Dispute!]",  # only for those whom the overlay beside it is for
    }
