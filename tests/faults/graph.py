"""The configuration that the tests of the reliability cases share: one process serves it for all of them."""

# The breaker and the budget are off where faults are what is tested: the first of them would keep the others from being called.
GRAPH = {
    "graph.yaml": """
sources:
  core:
    breaker: { enabled: false }
    type: api
    base_url: UPSTREAM
    timeout_ms: 5000
    retry: { attempts: 1 }
    headers: { authorization: "{request.headers.authorization?}" }
  insistent:
    breaker: { enabled: false }
    type: api
    base_url: UPSTREAM
    retry: { attempts: 3, base_ms: 1, budget_percent: 100, budget_min: 100000 }
  nobody: { breaker: { enabled: false }, type: api, base_url: "http://127.0.0.1:NOBODY", retry: { attempts: 1 } }
  nowhere: { breaker: { enabled: false }, type: api, base_url: "http://no-such-host.invalid", retry: { attempts: 1 } }
  data: { breaker: { enabled: false }, type: warehouse, url: "sqlite:///data.db", timeout_ms: 500, pool: 4 }
defaults: { api: core, warehouse: data }
---
operation: constant
args: { id: Int, text: String, any: JSON, list: "[Int!]" }
steps:
  - { name: value, type: value, value: { text: "{text?}", any: "{any?}" } }
  - { name: one, type: value, value: 1 }
---
operation: pair
args: { left: ID!, right: ID }
steps:
  - { name: first, type: api, endpoint: "/{left}" }
  - { name: second, type: api, endpoint: "/{right}" }
---
operation: impatient
args: { left: ID!, right: ID }
steps:
  - { name: first, type: api, endpoint: "/{left}", timeout_ms: 500 }
  - { name: second, type: api, endpoint: "/{right}" }
---
operation: strict
args: { left: ID!, right: ID }
steps:
  - { name: first, type: api, endpoint: "/{left}", timeout_ms: 500 }
  - { name: second, type: api, endpoint: "/{right}" }
aggregation: { required_steps: [first] }
---
operation: refused
steps: [ { name: call, type: api, source: nobody, endpoint: / } ]
---
operation: refusedStrict
steps: [ { name: call, type: api, source: nobody, endpoint: / } ]
aggregation: { required_steps: [call] }
---
operation: refusedRescued
steps:
  - { name: call, type: api, source: nobody, endpoint: /, fallback: [ { step: spare } ] }
  - { name: spare, type: api, endpoint: /spare, expose: false }
---
operation: unresolved
steps: [ { name: call, type: api, source: nowhere, endpoint: / } ]
---
operation: chain
deadline_ms: 1000
steps:
  - { name: one, type: api, endpoint: /chain/1 }
  - { name: two, type: api, endpoint: "/chain/{one.next}" }
  - { name: three, type: api, endpoint: "/chain/{two.next}" }
---
operation: account
args: { id: JSON }
steps: [ { name: detail, type: api, endpoint: "/accounts/{id}/detail" } ]
---
operation: typed
args: { path: ID! }
steps:
  - { name: item, type: api, endpoint: "/{path}", returns: Item }
  - { name: beside, type: api, endpoint: /quick }
---
operation: repeated
args: { path: ID! }
steps:
  - { name: get, type: api, source: insistent, endpoint: "/{path}" }
  - { name: post, type: api, source: insistent, method: POST, endpoint: "/{path}" }
  - { name: put, type: api, source: insistent, method: PUT, endpoint: "/{path}", idempotent: true }
---
operation: change
kind: mutation
args: { path: ID! }
steps: [ { name: post, type: api, source: insistent, method: POST, endpoint: "/{path}" } ]
---
operation: selecting
steps: [ { name: call, type: api, endpoint: /selected, select: "abs(secret)" } ]
---
operation: person
args: { id: JSON }
steps: [ { name: row, type: warehouse, query: "SELECT id, name FROM people WHERE id = :id", params: { id: "{id}" } } ]
---
operation: people
steps: [ { name: count, type: warehouse, query: "SELECT count(*) AS n FROM people" } ]
---
operation: endless
steps:
  - name: row
    type: warehouse
    query: "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000000000) SELECT max(i) AS most FROM n"
---
operation: long
args: { path: ID! }
steps: [ { name: call, type: api, endpoint: "/{path}", timeout_ms: 5000 } ]
---
operation: node
steps: [ { name: it, type: value, value: { id: 1 }, returns: Node } ]
aggregation: { strategy: pick, step: it }
""",
    "types.graphql": """
type Item { number: Int name: String! size: Size tags: [String!] inner: Inner }
type Inner { text: String }
type Node { id: ID n: Node }
enum Size { SMALL LARGE }
""",
}
TABLES = """
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
INSERT INTO people VALUES (1, 'Ada'), (2, 'Grace'), (3, 'O''Hara');
"""
