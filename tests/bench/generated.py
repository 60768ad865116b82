"""Sizes → configurations of that size: many operations, or one operation of many steps."""

import shutil
from pathlib import Path

from tests.bench.servers import PLAIN

OPERATION = """\
operation: op{number}
args: {{ id: Int! }}
steps:
  - {{ name: one, type: api, endpoint: "/things/{{id}}", returns: Thing }}
  - {{ name: two, type: api, endpoint: "/things/{{one.size}}", returns: Thing }}
  - {{ name: three, type: value, value: {{ id: {number}, name: three, size: 3 }}, returns: Thing }}
"""
PER_FILE = 20


def many_operations(folder: Path, count: int) -> Path:
    """Write a configuration of some operations, three steps each."""
    made = _with_sources(folder / f"operations-{count}")
    for start in range(0, count, PER_FILE):
        numbers = range(start, min(start + PER_FILE, count))
        made.joinpath(f"{start}.yaml").write_text("---\n".join(OPERATION.format(number=number) for number in numbers), "utf-8")
    return made


def many_steps(folder: Path, counts: tuple[int, ...]) -> Path:
    """Write a configuration with an operation `wideN` for each count: so many steps, each of which waits for the one ten before it."""
    made = _with_sources(folder / "steps")
    for count in counts:
        lines = [f"operation: wide{count}", "args: { id: Int! }", "steps:"]
        for number in range(count):
            parent = f"{{s{number - 10}.size}}" if number >= 10 else "0"
            path = f"/things/{parent}/{number}/{{id}}"
            lines.append(f'  - {{ name: s{number}, type: api, endpoint: "{path}", returns: Thing }}')
        made.joinpath(f"wide{count}.yaml").write_text("\n".join(lines), "utf-8")
    return made


def wide_query(count: int) -> str:
    """Return the query for all steps of `wideN`."""
    fields = " ".join(f"s{number} {{ id }}" for number in range(count))
    return f"query wide($id: Int!) {{ wide{count}(id: $id) {{ {fields} }} }}"


def _with_sources(made: Path) -> Path:
    made.mkdir(parents=True)
    for name in ("sources.yaml", "types.graphql"):
        shutil.copy(PLAIN / name, made)
    return made
