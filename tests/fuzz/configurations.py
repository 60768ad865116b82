"""Sound configurations → what somebody, or something, may make of them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from hypothesis import strategies as st

from gateway.settings import DOCUMENT_KINDS
from resolvers import STEP_TYPES
from tests.kit.typos import reference, shipped

SOUND: tuple[Mapping[str, str], ...] = (shipped(), reference())
_PIECES = re.compile(r"\s+|[A-Za-z0-9_]+|.", re.DOTALL)
HOSTILE = st.sampled_from(
    [
        *(
            "",
            " ",
            "\n",
            "\t",
            "\0",
            "\ufeff",
            "\u2028",
            "\x85",
            "---",
            "...",
            "- ",
            "? ",
            ": ",
            "#",
            "{",
            "}",
            "[",
            "]",
            ",",
            "|",
            ">",
            "%",
        ),
        *(
            "*a",
            "&a",
            "!!python/name:os.system",
            "!x",
            "<<",
            "~",
            "null",
            "true",
            "no",
            "010",
            "0x1f",
            "1e999",
            ".nan",
            "-.inf",
            "12:30",
        ),
        *(
            "{a.b.c}",
            "{",
            "{{",
            "}}",
            "{keys}",
            "{parent.id}",
            "{args.x?}",
            "${X}",
            "${X:-1}",
            "$",
            "'",
            '"',
            "`",
            "\\",
            "9" * 400,
        ),
        *(
            "type Query { a: Int }",
            "union",
            "interface",
            "@deprecated",
            "extend",
            "scalar",
            "input",
            "enum E {",
            '"""',
            "x" * 200,
            "é",
            "🙂",
        ),
        *(
            "SELECT 1; SELECT 2",
            "DELETE FROM t",
            "WHERE id = ? AND id = :id",
            "a[?b",
            "length(@",
            "/a/../b",
            "//",
            "?a=b",
            "http://",
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Variation:
    """A configuration, and the file that was changed: the others are not shown when a test fails."""

    texts: Mapping[str, str] = field(repr=False)
    file: str
    text: str


def _vary(texts: Mapping[str, str], file: str, text: str) -> Variation:
    return Variation({**texts, file: text}, file, text)


@st.composite
def mutated(draw: st.DrawFn) -> Variation:
    """Draw a sound configuration in one file of which a few pieces are replaced, left out, doubled or moved."""
    texts = draw(st.sampled_from(SOUND))
    name = draw(st.sampled_from(sorted(texts)))
    pieces = _PIECES.findall(texts[name])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(pieces) - 1)))
        length = draw(st.sampled_from([0, 1, 1, 1, 2, 8, 40]))
        taken = pieces[at : at + length]
        there = draw(st.integers(0, max(0, len(pieces) - 1)))
        new = draw(
            st.one_of(HOSTILE.map(lambda text: [text]), st.just(taken * 2), st.just(pieces[there : there + 8]), st.just([]))
        )
        pieces[at : at + length] = new
    return _vary(texts, name, "".join(pieces))


_NAMES = st.sampled_from(
    ["customer", "account", "posts", "Post", "Account", "id", "user", "a", "core", "warehouse", "", "__x", "1", "a-b"]
)
_TYPES = st.sampled_from(["ID!", "Int", "[Post]", "Account", "JSON", "[[Int!]!]!", "Nope", "", "!", "Query", "String = 1"])
_TEXTS = st.one_of(HOSTILE, _NAMES, _TYPES, st.sampled_from([*STEP_TYPES, "/a/{id}", "{account.id}", "SELECT 1", "GET"]))
_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), _TEXTS)
_KEYS = sorted(
    {name for kind in DOCUMENT_KINDS for name in kind.model.model_fields}
    | {name for step_type in STEP_TYPES.values() for name in step_type.keys.model_fields}
    | {name for step_type in STEP_TYPES.values() if step_type.source_keys for name in step_type.source_keys.model_fields}
    | {"strategy", "required_steps", "step", "key", "match", "max", "value", "stale_ms", "ttl_ms", "attempts", "errors"}
)
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS) | _NAMES, inner, max_size=4),
    max_leaves=12,
)


@st.composite
def grafted(draw: st.DrawFn) -> Variation:
    """Draw a sound configuration in which values are replaced by others, keys are added and left out: YAML as such stays sound."""
    texts = draw(st.sampled_from(SOUND))
    name = draw(st.sampled_from(sorted(name for name in texts if name.endswith(".yaml"))))
    documents = list(yaml.load_all(texts[name], yaml.CSafeLoader))
    for _ in range(draw(st.integers(1, 3))):
        _graft(draw, documents)
    return _vary(texts, name, yaml.safe_dump_all(documents, allow_unicode=True))


def _graft(draw: st.DrawFn, documents: list[Any]) -> None:
    places = [(parent, key) for document in documents for parent, key in _places(document)]
    if not places:
        return
    parent, key = draw(st.sampled_from(places))
    match draw(st.sampled_from(["replace", "remove", "add", "copy"])):
        case "replace":
            parent[key] = draw(_VALUES)
        case "remove":
            del parent[key]
        case "add" if isinstance(parent, dict):
            parent[draw(st.sampled_from(_KEYS))] = draw(_VALUES)
        case _:
            other, there = draw(st.sampled_from(places))
            if isinstance(other[there], str | int | float | None):
                parent[key] = other[there]


def _places(node: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        found += [(node, key), *_places(value)]
    return found


@st.composite
def generated(draw: st.DrawFn) -> Variation:
    """Draw a configuration out of nothing but words that configurations have."""
    kinds = [kind.model.model_fields for kind in DOCUMENT_KINDS]
    documents = []
    for _ in range(draw(st.integers(1, 4))):
        fields = draw(st.sampled_from(kinds))
        names = draw(st.lists(st.sampled_from(sorted(fields)), min_size=1, max_size=6))
        documents.append({name: draw(_VALUES) for name in names})
    sdl = draw(
        st.sampled_from(["", "type Post { id: ID! user: Account }\ntype Account { id: ID }", "type Post {", "scalar JSON"])
    )
    return _vary({"types.graphql": sdl}, "a.yaml", yaml.safe_dump_all(documents, allow_unicode=True))
