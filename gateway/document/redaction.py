"""A document → the values in it that errors and logs must not repeat: those of sensitive arguments, as literals and as variables."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    EnumValueNode,
    FieldNode,
    FloatValueNode,
    GraphQLError,
    IntValueNode,
    Lexer,
    Source,
    StringValueNode,
    TokenKind,
    VariableNode,
    Visitor,
    print_ast,
    visit,
)

from gateway.blueprint import Argument
from gateway.blueprint.redaction import MASK, redact_values

_LITERALS = StringValueNode | IntValueNode | FloatValueNode | EnumValueNode


@dataclass(frozen=True, slots=True)
class Redaction:
    """The names of the sensitive variables of a document, and its sensitive literals."""

    variables: frozenset[str] = frozenset()
    literals: frozenset[str] = frozenset()

    def redact(self, error: dict[str, Any], given: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Return an error with the sensitive values masked in its message; ``given`` are the variables of the request."""
        values = {*self.literals, *(text for name in self.variables for text in _texts((given or {}).get(name)))}
        return {**error, "message": redact_values(error["message"], values)} if values else error


NOTHING_SENSITIVE = Redaction()


def read_redaction(document: DocumentNode, names: frozenset[str]) -> Redaction:
    """Find the literals and variables that a document gives to arguments of these names, in any field."""
    # By name and not by field: the document may be invalid, and its errors repeat its values all the same.
    if not names:
        return NOTHING_SENSITIVE
    collector = _SensitiveValues(names)
    visit(document, collector)
    return Redaction(frozenset(collector.variables), frozenset(collector.literals))


class _SensitiveValues(Visitor):
    def __init__(self, names: frozenset[str]) -> None:
        super().__init__()
        self.names = names
        self.variables: set[str] = set()
        self.literals: set[str] = set()

    def enter_argument(self, node: ArgumentNode, *_: object) -> None:
        if node.name.value in self.names:
            visit(node.value, _ValueParts(self))


class _ValueParts(Visitor):
    """Collects the literals and variables of one value, at all depths."""

    def __init__(self, collector: _SensitiveValues) -> None:
        super().__init__()
        self.collector = collector

    def enter_variable(self, node: VariableNode, *_: object) -> None:
        self.collector.variables.add(node.name.value)

    def enter(self, node: object, *_: object) -> None:
        if isinstance(node, _LITERALS) and node.value:
            self.collector.literals.add(node.value)


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [str(value)] if value not in (None, "", True, False) else []


def shown_arguments(node: FieldNode, declared: Iterable[Argument], written: str) -> str:
    """Return the arguments of a field as a plan shows them: ``written``, with sensitive literals masked."""
    sensitive = {argument.name for argument in declared if argument.is_sensitive}
    if not sensitive:
        return written
    return ", ".join(sorted(f"{given.name.value}: {_shown(given, sensitive)}" for given in node.arguments or ()))


def _shown(given: ArgumentNode, sensitive: set[str]) -> str:
    is_hidden = given.name.value in sensitive and not isinstance(given.value, VariableNode)
    return f'"{MASK}"' if is_hidden else print_ast(given.value)


MAX_TEXT = 50_000
"""Characters of a document that are recorded; a longer one is truncated."""


_VALUES = {TokenKind.INT, TokenKind.FLOAT, TokenKind.STRING, TokenKind.BLOCK_STRING}


def masked(value: object) -> object:
    """Return JSON with every value in it masked, except null, true and false; keys and structure stay."""
    if isinstance(value, Mapping):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    return value if value is None or isinstance(value, bool) else MASK


def masked_text(text: str) -> str:
    """Return GraphQL text with every number and string literal masked; a text that is not GraphQL is masked as a whole."""
    text = text[:MAX_TEXT]
    parts, end = [], 0
    lexer = Lexer(Source(text))
    try:
        while (token := lexer.advance()).kind is not TokenKind.EOF:
            if token.kind in _VALUES:
                parts += [text[end : token.start], f'"{MASK}"']
                end = token.end
    except GraphQLError:
        return MASK
    return "".join([*parts, text[end:]])
