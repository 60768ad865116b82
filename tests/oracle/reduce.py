"""Reduce a failing case to a smaller one that still fails, for people to read."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from graphql import (
    DirectiveNode,
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    Node,
    VariableDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    visit,
)

from gateway.contract.outcome import Success
from tests.oracle.generate import CallResult, Case, Rows

MAX_TRIES = 3000


def reduce(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Remove parts while the case still fails, until nothing more can be removed or ``MAX_TRIES`` is reached."""
    tries = 0
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for smaller in _smaller(case):
            tries += 1
            if tries > MAX_TRIES:
                return case
            if fails(smaller):
                case, is_smaller = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for query in _smaller_documents(case.query):
        yield replace(case, query=query)
    for row, end in case.rows.items():
        for smaller in _smaller_outcomes(end):
            yield replace(case, rows=Rows({**case.rows, row: smaller}))
    for header in case.headers:
        yield replace(case, headers={name: value for name, value in case.headers.items() if name != header})


def _smaller_outcomes(outcome: CallResult) -> Iterator[CallResult]:
    if outcome == Success(None):
        return
    yield Success(None)
    if isinstance(outcome, Success):
        yield from (Success(value) for value in _smaller_values(outcome.value))


def _smaller_values(value: object) -> Iterator[object]:
    """Yield the value without each of its parts."""
    if isinstance(value, dict):
        for key in value:
            yield {name: item for name, item in value.items() if name != key}
            yield from ({**value, key: smaller} for smaller in _smaller_values(value[key]))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], smaller, *value[index + 1 :]] for smaller in _smaller_values(item))


class _Parts(Visitor):
    """Collects the removable parts of a document, its definitions, and the names in use."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Node] = []
        self.definitions: dict[str, Node] = {}
        self.used: set[str] = set()
        self.inside_definition = False

    def enter(self, node: Node, *_: object) -> None:
        if isinstance(node, FieldNode | InlineFragmentNode | FragmentSpreadNode | DirectiveNode):
            self.parts.append(node)
        if isinstance(node, FragmentSpreadNode):
            self.used.add(f"...{node.name.value}")
        if isinstance(node, FragmentDefinitionNode):
            self.definitions[f"...{node.name.value}"] = node
        if isinstance(node, VariableDefinitionNode):
            self.definitions[f"${node.variable.name.value}"] = node
        if isinstance(node, VariableNode):
            self.used |= {f"${node.name.value}"} if not self.inside_definition else set()
        self.inside_definition = isinstance(node, VariableDefinitionNode)


def _parts(document: DocumentNode) -> _Parts:
    parts = _Parts()
    visit(document, parts)
    return parts


def _without(text: str, node: Node) -> str:
    assert node.loc is not None
    return text[: node.loc.start] + text[node.loc.end :]


def _smaller_documents(query: str) -> Iterator[str]:
    """Yield the document without each of its selections and directives, and without definitions that this leaves unused."""
    for part in _parts(parse(query)).parts:
        text = _without(query, part)
        while unused := _unused(text):
            text = (
                re.sub(r"\((, )+", "(", re.sub(r"(, )+([,)])", r"\2", _without(text, unused)))
                .replace("query()", "query")
                .replace("mutation()", "mutation")
            )
        yield re.sub(r"\s+", " ", text)


def _unused(text: str) -> Node | None:
    parts = _parts(parse(text))
    return next((node for name, node in parts.definitions.items() if name not in parts.used), None)
