"""Plan → a tree for the terminal, with the critical path marked."""

from io import StringIO

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from gateway.plan.diagrams import fallbacks_in_words, head, notes_on, shortened
from gateway.plan.nodes import Node, OperationCall, Plan

_NO_EDGE = 1000
"""Columns that no line reaches."""


def as_trees(plan: Plan) -> list[Tree]:
    """Return a tree for each operation: a node hangs on the prerequisite that ends last, a fallback on the node that it stands in for."""
    return [_Branches(plan, call).tree() for call in plan.calls]


def in_full(tree: Tree) -> Text:
    """Return a tree as text without colours that no edge of a terminal cuts."""
    wide = Console(file=StringIO(), width=_NO_EDGE, color_system=None)
    with wide.capture() as captured:
        wide.print(tree, no_wrap=True)
    return Text("\n".join(line.rstrip() for line in captured.get().splitlines()))


class _Branches:
    def __init__(self, plan: Plan, call: OperationCall) -> None:
        self.plan = plan
        self.call = call
        self.critical = plan.critical_nodes(call)
        self.parents = plan.latest_prerequisites(call)
        self.drawn: dict[int, Tree] = {}

    def tree(self) -> Tree:
        deadline = f"critical path {self.plan.critical_path(self.call) * 1000:.0f} ms of {self.call.deadline * 1000:.0f} ms"
        root = Tree(Text.assemble((head(self.call), "bold"), "  ", (deadline, "yellow")), guide_style="dim")
        for index, parent in self.parents.items():
            branch = root if parent is None else self.drawn[parent]
            self.drawn[index] = branch.add(self.label(self.plan.nodes[index], parent))
        for index in self.parents:
            self.add_fallbacks(self.plan.nodes[index])
        for index in self.call.nodes:
            if index not in self.drawn:
                self.drawn[index] = root.add(
                    Text.assemble(("only for a fallback: ", "dim"), self.label(self.plan.nodes[index], None))
                )
        return root

    def add_fallbacks(self, node: Node) -> None:
        """Hang the fallbacks of a node on it in order, and theirs on them; one that is drawn already is only named."""
        branch = self.drawn[node.index]
        for text, other in fallbacks_in_words(node):
            if other is None or other in self.drawn:
                branch.add(Text(f"else {text}", "dim"))
                continue
            substitute = self.plan.nodes[other]
            self.drawn[other] = branch.add(Text.assemble(("else ", "dim"), self.label(substitute, None)))
            self.add_fallbacks(substitute)

    def label(self, node: Node, parent: int | None) -> Text:
        is_critical = node.index in self.critical
        others = sorted(other + 1 for other in set(node.prerequisites) if other != parent)
        notes = [f"after {', '.join(map(str, others))}"] if others else []
        notes += notes_on(node)
        return Text.assemble(
            ("◆ " if is_critical else "◇ ", "yellow" if is_critical else "dim"),
            (f"{node.index + 1} {node.step.name}", "bold yellow" if is_critical else "bold"),
            f"  {node.role}  {node.step.timeout * 1000:.0f} ms",
            *(f"  {note}" for note in notes),
            (f"  {node.step.type} {shortened(node.step.description)}", "cyan"),
        )
