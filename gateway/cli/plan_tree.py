"""Draw a plan as a tree for the terminal, with the critical path marked."""

from io import StringIO

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from gateway.plan.diagrams import fallbacks_in_words, head, notes_on, shortened
from gateway.plan.nodes import Node, OperationCall, Plan

_UNLIMITED_WIDTH = 1000
"""A width in columns that no line reaches."""


def as_trees(plan: Plan) -> list[Tree]:
    """Return a tree for each operation. The parent of a node is its latest prerequisite; that of a fallback is the node that it replaces.

    A node with several prerequisites has one place in the tree; its label names the other prerequisites.
    """
    return [_Branches(plan, call).tree() for call in plan.calls]


def in_full(tree: Tree) -> Text:
    """Render a tree as text without colours, and without wrapping at the width of a terminal."""
    wide = Console(file=StringIO(), width=_UNLIMITED_WIDTH, color_system=None)
    with wide.capture() as captured:
        wide.print(tree, no_wrap=True)
    return Text("\n".join(line.rstrip() for line in captured.get().splitlines()))


class _Branches:
    """Draws the tree of one operation call; ``drawn`` has the branch of each node that is in it already."""

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
        """Add the fallbacks of a node below it in order, and recursively theirs. A node that is drawn already is only named."""
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
