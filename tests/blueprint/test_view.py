"""The blueprint as data: what policies look through. Its keys are a promise, and nothing secret is in it."""

import json
from pathlib import Path

from tests.cli.test_cli import run
from tests.kit.serving import write_files

CONFIG = """
sources:
  core: { type: api, base_url: "https://core.internal/v1", headers: { authorization: "Bearer hush-hush" }, timeout_ms: 400 }
  warehouse: { type: warehouse, url: "postgresql://user:hush-hush@db.internal/shop?password=hush-hush" }
---
context: { tenant: request.headers.tenant }
---
operation: customer
steps:
  - { name: account, type: api, source: core, endpoint: "/a/{id}", returns: Account, retry: { attempts: 3, base_ms: 10 } }
  - { name: order, type: api, source: core, method: POST, endpoint: /o, body: { token: hush-hush, id: "{account.id}" } }
  - name: risk
    type: warehouse
    source: warehouse
    query: SELECT 1 AS one WHERE :key = ''
    params: { key: hush-hush }
    when: account.id != ''
    fallback: [{ stale_ms: 5000 }, { step: order }, { value: 0 }]
aggregation: { required_steps: [account] }
---
field: Account.friends
returns: "[Account]"
step: { type: api, source: core, endpoint: /f, query: { id: "{keys}" }, batch: { key: id, match: id } }
---
overlay: gold
when: { tenant: gold }
operation: customer
steps: [{ name: account, timeout_ms: 100, headers: { authorization: hush-hush } }]
"""


def test_the_view_has_everything_that_policies_may_ask_for(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.yaml": CONFIG, "types.graphql": "type Account { id: ID }"})
    text = run("blueprint", tmp_path).stdout
    view = json.loads(text)
    assert list(view) == ["format", "version", "sources", "operations", "links", "steps", "overlays", "context", "types"]
    assert view["format"] == 1
    core, warehouse = view["sources"]
    assert (core["url"], core["timeout_ms"], core["attempts"]) == ("https://core.internal/v1", 400, 2)
    assert warehouse["url"] == "postgresql://db.internal/shop"
    (operation,) = view["operations"]
    # 3 x 400 + 10 + 20, then the query: 2 x 1000 + 50, then the order once: 400
    assert (operation["worst_case_ms"], operation["required_steps"]) == (1230 + 2050 + 400, ["account"])
    account, order, risk, friends = view["steps"]
    assert account == {
        "name": "account",
        "operation": "customer",
        "link": None,
        "type": "api",
        "source": "core",
        "call": "GET /a/{id}",
        "returns": "Account",
        "expose": True,
        "required": True,
        "idempotent": True,
        "needs": [],
        "depends_on": [],
        "when": None,
        "select": None,
        "timeout_ms": 400,
        "attempts": 3,
        "hedged": False,
        "retry_errors": ["502", "503", "504", "connect", "reset"],
        "worst_case_ms": 1230,
        "fallback": [],
        "at": f"{tmp_path}/a.yaml:10:5",
    }
    assert (order["attempts"], order["needs"]) == (1, ["account"])
    assert (risk["when"], risk["fallback"]) == ("account.id != ''", [{"stale_ms": 5000}, {"step": "order"}, {"value": 0}])
    assert (friends["link"], friends["operation"], view["links"][0]["batch"]) == ("Account.friends", None, 100)
    assert view["overlays"][0]["changes"] == ["account.timeout_ms", "account.headers.authorization"]
    assert "hush" not in text
