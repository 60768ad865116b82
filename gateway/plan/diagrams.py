"""Draw the graph of a plan: Mermaid and DOT text, and what the tree in the terminal shares with them. The critical path is marked in each."""

from collections.abc import Iterator
from itertools import pairwise

from gateway.plan.nodes import Node, OperationCall, Plan, Role

_MAX_LABEL = 60
_MERMAID_SHAPES = {
    Role.REQUIRED: ('[["', '"]]'),
    Role.OPTIONAL: ('["', '"]'),
    Role.LINK: ('[/"', '"/]'),
    Role.FALLBACK: ('(["', '"])'),
}
_DOT_SHAPES = {
    Role.REQUIRED: "box, peripheries=2",
    Role.OPTIONAL: "box",
    Role.LINK: "box, style=rounded",
    Role.FALLBACK: "box, style=dashed",
}
_MERMAID_ENTITIES = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;"})


# -- text for other programs


def as_mermaid(plan: Plan) -> str:
    """Return a Mermaid flowchart."""
    lines = ["flowchart TD"]
    for call in plan.calls:
        lines.append(f'  subgraph c{call.index + 1}["{_escaped(_title(plan, call))}"]')
        for index in call.nodes:
            opening, closing = _MERMAID_SHAPES[plan.nodes[index].role]
            text = "<br/>".join(map(_escaped, _lines(plan.nodes[index])))
            lines.append(f"    n{index + 1}{opening}{text}{closing}")
        lines.append("  end")
    for before, after, is_critical in _edges(plan):
        lines.append(f"  n{before + 1} {'==>' if is_critical else '-->'} n{after + 1}")
    lines += [f"  n{primary + 1} -. else .-> n{other + 1}" for primary, other in _substitutions(plan)]
    critical = [f"n{index + 1}" for call in plan.calls for index in plan.critical_nodes(call)]
    if critical:
        lines += ["  classDef critical stroke:#c60,stroke-width:3px", f"  class {','.join(critical)} critical"]
    return "\n".join(lines)


def as_dot(plan: Plan) -> str:
    """Return a graph in Graphviz's DOT language."""
    critical = {index for call in plan.calls for index in plan.critical_nodes(call)}
    lines = [
        "digraph plan {",
        "  rankdir=LR",
        '  graph [fontname="sans-serif"]',
        '  node [fontname="sans-serif"]',
        '  edge [fontname="sans-serif"]',
    ]
    for call in plan.calls:
        lines += [f"  subgraph cluster_{call.index + 1} {{", f"    label={_quoted(_title(plan, call))}"]
        for index in call.nodes:
            node = plan.nodes[index]
            style = ', color="#cc6600", penwidth=3' if index in critical else ""
            lines.append(f"    n{index + 1} [label={_quoted(*_lines(node))}, shape={_DOT_SHAPES[node.role]}{style}]")
        lines.append("  }")
    for before, after, is_critical in _edges(plan):
        style = ' [color="#cc6600", penwidth=3]' if is_critical else ""
        lines.append(f"  n{before + 1} -> n{after + 1}{style}")
    lines += [f'  n{primary + 1} -> n{other + 1} [style=dashed, label="else"]' for primary, other in _substitutions(plan)]
    return "\n".join([*lines, "}"])


def _escaped(text: str) -> str:
    return text.translate(_MERMAID_ENTITIES)


def _quoted(*lines: str) -> str:
    text = "\n".join(lines).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n") + '"'


# -- what all diagrams show


def head(call: OperationCall) -> str:
    """Return an operation call as text: its name and arguments."""
    return f"{call.operation.name}({call.shown})" if call.arguments else call.operation.name


def _title(plan: Plan, call: OperationCall) -> str:
    return f"{head(call)} · critical path {plan.critical_path(call) * 1000:.0f} ms"


def _lines(node: Node) -> list[str]:
    step = node.step
    lines = [step.name, f"{step.type} · {shortened(step.description)}", f"{node.role} · {step.timeout * 1000:.0f} ms"]
    return [*lines, *notes_on(node), *(f"else {text}" for text, other in fallbacks_in_words(node) if other is None)]


def notes_on(node: Node) -> list[str]:
    """Return the notes on a node: its condition, and the size of its batches."""
    notes = [f"when {shortened(node.step.when.text)}"] if node.step.when else []
    return [*notes, *([f"batches of {node.use.link.max}"] if node.use and node.use.link.match else [])]


def fallbacks_in_words(node: Node) -> Iterator[tuple[str, int | None]]:
    """Yield each fallback of a node as text, with the index of its node if it is a step."""
    for fallback in node.step.fallbacks:
        index = None if fallback.step is None else node.substitutes[fallback.step]
        yield fallback.served_by if index is None else f"{index + 1} {fallback.served_by}", index


def _edges(plan: Plan) -> Iterator[tuple[int, int, bool]]:
    """Yield the edges from prerequisites to nodes, and whether each is part of a critical path."""
    critical = {pair for call in plan.calls for pair in pairwise(plan.critical_nodes(call))}
    for node in plan.nodes:
        for other in node.prerequisites:
            yield other, node.index, (other, node.index) in critical


def _substitutions(plan: Plan) -> Iterator[tuple[int, int]]:
    for node in plan.nodes:
        yield from ((node.index, other) for _, other in fallbacks_in_words(node) if other is not None)


def shortened(text: str) -> str:
    """Truncate a text to the length that fits into a diagram."""
    return text if len(text) <= _MAX_LABEL else f"{text[: _MAX_LABEL - 1]}…"
