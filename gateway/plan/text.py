"""Print a plan: as text for people, as JSON data for other programs."""

from gateway.blueprint import Fallback, Step
from gateway.blueprint.redaction import MASK
from gateway.document.selection import Parts, Selected
from gateway.plan.nodes import Node, Plan

MAX_OUTLINE = 20_000
"""Characters; what is selected below one field is left out if it is longer. Such a text can grow with the types to the power of the levels."""


def plan_text(plan: Plan) -> str:
    """Return the plan as a table for each operation, and the projection."""
    blocks = []
    for call in plan.calls:
        head = f"plan {call.operation.name}({call.shown})" if call.arguments else f"plan {call.operation.name}"
        title = f"{head:<61} critical path {plan.critical_path(call) * 1000:.0f} ms"
        blocks.append("\n".join([title, *_table([_row(plan, index) for index in call.nodes])]))
    return "\n".join([*blocks, projection_text(plan)])


def projection_text(plan: Plan) -> str:
    """Return the fields of the response and the steps that are left out, as text."""
    lines = ["project", *(f"  {outline}" for outline in _outlines(plan))]
    pruned = [name for call in plan.calls for name in call.pruned]
    if pruned:
        lines.append(f"pruned: {', '.join(dict.fromkeys(pruned))}")
    absent = [name for call in plan.calls for name in call.not_applicable]
    if absent:
        lines.append(f"not applicable: {', '.join(dict.fromkeys(absent))}")
    return "\n".join(lines)


def _row(plan: Plan, index: int) -> tuple[str, ...]:
    node = plan.nodes[index]
    step = node.step
    notes = []
    if node.prerequisites:
        notes.append("after " + ", ".join(str(other + 1) for other in sorted(set(node.prerequisites))))
    if step.when:
        notes.append(f"when {step.when.text}")
    notes += [f"else {_fallback_text(node, fallback)}" for fallback in step.fallbacks]
    if node.use and node.use.link.match:
        notes.append(f"batches of {node.use.link.max}")
    return (
        f"{index + 1:>3}",
        step.name,
        step.type,
        _short(step.description),
        str(node.role),
        f"{step.timeout * 1000:.0f} ms",
        "  ".join(notes),
    )


def plan_json(plan: Plan, *, describes_pruned: bool = False) -> dict[str, object]:
    """Return the plan as JSON data. With ``describes_pruned``, pruned steps have their types and sources besides their names."""
    return {
        "operations": [
            {
                "operation": call.operation.name,
                "arguments": call.shown,
                "deadline_ms": round(call.operation.deadline * 1000),
                "critical_path_ms": round(plan.critical_path(call) * 1000),
                "critical_path": [index + 1 for index in plan.critical_nodes(call)],
                "nodes": [_node_json(plan, index) for index in call.nodes],
                "pruned": [_pruned(call.operation.steps[name]) for name in call.pruned]
                if describes_pruned
                else list(call.pruned),
                "not_applicable": list(call.not_applicable),
            }
            for call in plan.calls
        ],
        "project": _outlines(plan),
    }


def _node_json(plan: Plan, index: int) -> dict[str, object]:
    node = plan.nodes[index]
    return {
        "id": index + 1,
        "step": node.step.name,
        "arguments": node.use.shown if node.use else None,
        "batch": node.use.link.max if node.use and node.use.link.match else None,
        "type": node.step.type,
        "source": node.step.source.name if node.step.source else None,
        "call": node.step.description,
        "role": str(node.role),
        "timeout_ms": round(node.step.timeout * 1000),
        **{key: value for name, policy in node.step.policies.items() for key, value in policy.in_short(name).items()},
        "needs": [other + 1 for other in node.needs],
        "follows": [other + 1 for other in node.follows],
        "when": node.step.when.text if node.step.when else None,
        "fallback": [_fallback_json(node, fallback) for fallback in node.step.fallbacks],
    }


def _pruned(step: Step) -> dict[str, object]:
    return {"step": step.name, "type": step.type, "source": step.source.name if step.source else None}


def _fallback_text(node: Node, fallback: Fallback) -> str:
    return fallback.served_by if fallback.step is None else str(node.substitutes[fallback.step] + 1)


def _fallback_json(node: Node, fallback: Fallback) -> dict[str, object]:
    if fallback.step is not None:
        return {"node": node.substitutes[fallback.step] + 1}
    return fallback.data(MASK if node.step.is_sensitive else None)


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _short(text: str, limit: int = 48) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _outlines(plan: Plan) -> list[str]:
    """Return the selected root fields with their subfields, nearly as GraphQL text."""
    written: dict[int, str] = {}
    return [_outline(root.selected, written) for root in plan.roots]


def _outline(selected: Selected, written: dict[int, str]) -> str:
    """Return a selected field as text; ``written`` has what is selected below a field, so that it is written only once."""
    name = selected.name if selected.key == selected.name else f"{selected.key}: {selected.name}"
    if not selected.parts:
        return name
    text = written.get(id(selected.parts))
    if text is None:
        text = written[id(selected.parts)] = _outline_below(selected.parts, written)
    return f"{name} {{ {text} }}"


def _outline_below(parts: Parts, written: dict[int, str]) -> str:
    """Return what is selected of a value as text. Concrete types of which the same is selected are named together."""
    types: dict[str, list[str]] = {}
    for name, fields in parts.items():
        if fields:
            types.setdefault(_joined([_outline(part, written) for part in fields]), []).append(name)
    if len(types) == 1 and len(parts) == len(next(iter(types.values()))):
        text = next(iter(types))
    else:
        text = "  ".join(f"... on {', '.join(names)} {{ {shape} }}" for shape, names in types.items())
    return text if len(text) <= MAX_OUTLINE else "…"


def _joined(shapes: list[str]) -> str:
    """Join the fields of an object, with two spaces if some have subfields, to make them easier to tell apart."""
    return ("  " if any("{" in shape for shape in shapes) else " ").join(shapes)
