"""Diagrams of a plan: tree, Mermaid, DOT and JSON, all of one plan with every kind of edge."""

import json
import re
import shutil
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from gateway.cli.author import plan as plan_command
from tests.cli.test_cli import run
from tests.kit.serving import write_files

CONFIG = """
sources: { core: { type: api, base_url: "http://127.0.0.1:1", timeout_ms: 100 } }
defaults: { api: core }
---
operation: customer
args: { id: ID! }
deadline_ms: 2000
steps:
  - { name: account, type: api, endpoint: "/accounts/{id}", timeout_ms: 500 }
  - { name: other, type: api, endpoint: "/others/{id}" }
  - { name: both, type: api, endpoint: "/both/{account.x}/{other.x}", when: "account.note == '<\\"#`&>'", returns: "[Item]" }
  - name: credit
    type: api
    endpoint: /credit/{id}
    fallback: [{ step: spare }, { step: other }, { stale_ms: 5 }, { value: 0 }]
  - { name: spare, type: api, endpoint: "/spare/{before.x}", expose: false, fallback: [{ step: last }] }
  - { name: before, type: api, endpoint: "/before/{id}", expose: false }
  - { name: last, type: value, value: 1, expose: false }
aggregation: { required_steps: [account] }
---
field: Item.more
returns: More
step: { type: api, endpoint: /more, query: { id: "{keys}" }, batch: { key: id, match: id, max: 20 } }
"""
QUERY = '{ customer(id: "a\\"b") { account other both { more { id } } credit } }'
TREE = """\
customer(id: "a\\"b")  critical path 700 ms of 2000 ms
├── ◆ 1 account  required  500 ms  api GET /accounts/{id}
│   └── ◆ 4 both  optional  100 ms  after 3  when account.note == '<"#`&>'  api GET /both/{account.x}/{other.x}
│       └── ◆ 8 Item.more  link  100 ms  batches of 20  api GET /more?id={keys}
├── ◇ 2 credit  optional  100 ms  api GET /credit/{id}
│   ├── else ◇ 6 spare  fallback  100 ms  after 5  api GET /spare/{before.x}
│   │   └── else ◇ 7 last  fallback  1000 ms  value value
│   ├── else 3 other
│   ├── else stale
│   └── else value
├── ◇ 3 other  optional  100 ms  api GET /others/{id}
└── only for a fallback: ◇ 5 before  fallback  100 ms  api GET /before/{id}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "config", {"graph.yaml": CONFIG, "types.graphql": "type Item { id: ID } type More { id: ID }"})


def printed(folder: Path, form: str) -> str:
    result = run("plan", folder, "-", "--format", form, stdin=QUERY)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_tree_hangs_nodes_on_what_they_wait_for_and_marks_the_critical_path(folder: Path) -> None:
    assert printed(folder, "tree").startswith(TREE)


def test_a_terminal_gets_the_tree_in_colour_and_a_pipe_the_text(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("plan", folder, "-", stdin=QUERY).stdout.startswith("plan customer(")
    screen = Console(file=StringIO(), force_terminal=True, color_system="truecolor", width=70, highlight=False)
    monkeypatch.setattr(plan_command, "out", screen)
    assert run("plan", folder, "-", stdin=QUERY).exit_code == 0
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[33m◆ " in shown
    lines = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
    tree = [line.rstrip() for line in lines[: TREE.count("\n")]]
    assert max(map(len, tree)) == 70
    assert tree[2].endswith("…")


def test_mermaid_text_has_every_node_and_edge_and_no_character_that_means_something_else(folder: Path) -> None:
    text = printed(folder, "mermaid")
    assert text.startswith('flowchart TD\n  subgraph c1["customer(id: #quot;a\\#quot;b#quot;) · critical path 700 ms"]\n')
    assert "when account.note == '#lt;#quot;#35;#96;#amp;#gt;'" in text
    labels = re.findall(r'"([^\n]*?)"', text)
    assert not any(set('"`&') & set(label) for label in labels)
    assert len(re.findall(r"^    n\d+\W", text, re.MULTILINE)) == 8
    edges = ("n1 ==> n4", "n3 --> n4", "n4 ==> n8", "n5 --> n6", "n2 -. else .-> n6", "n2 -. else .-> n3", "n6 -. else .-> n7")
    for edge in edges:
        assert f"  {edge}\n" in text
    assert text.endswith("  class n1,n4,n8 critical\n")


def test_dot_text_has_every_node_and_edge(folder: Path) -> None:
    text = printed(folder, "dot")
    assert len(re.findall(r"^    n\d+ \[label=", text, re.MULTILINE)) == 8
    assert len(re.findall(r"->", text)) == 8 - 1
    assert "n2 -> n6 [style=dashed" in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_the_dot_text(folder: Path) -> None:
    done = subprocess.run(["dot", "-Tsvg"], input=printed(folder, "dot"), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count('class="node"') == 8
    assert "account.note == &#39;&lt;&quot;#`&amp;&gt;&#39;" in done.stdout


def test_json_names_the_critical_path(folder: Path) -> None:
    (operation,) = json.loads(printed(folder, "json"))["operations"]
    assert (operation["critical_path"], operation["critical_path_ms"]) == ([1, 4, 8], 700)
