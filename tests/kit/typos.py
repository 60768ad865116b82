"""Valid configurations, and a one-letter typo in each of their words."""

import random
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from gateway.load.read.files import read_files
from gateway.settings import ContextKeys, LinkKeys, OperationKeys, OverlayKeys
from resolvers import STEP_TYPES
from tests.kit.paths import CHECKOUT

FOLDER = CHECKOUT / "schema_configs"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{2,}")
_NOT_NAMES = re.compile(r'"""(?:.|\n)*?"""|"[^"\n]*"|#[^\n]*')
_SUPPORT = """
operation: customer
args: { customer_id: ID! }
steps: [ { name: risk, type: api, endpoint: "/risk/{customer_id}" } ]
---
operation: posts
args: {}
steps: [ { name: list, type: api, endpoint: /posts, returns: "[Post]" } ]
"""
_DEFAULTS = "defaults: { api: core, warehouse: warehouse, graphql: people }"
_TYPES = """
type Account { id: ID!  tier: String  status: String }
type Credit { tier: String  limit: Int }
type Post { id: ID!  userId: ID }
type User { id: ID!  name: String }
type Transaction { amount: Float }
type RiskProfile { score: Float }
"""


@dataclass(frozen=True, slots=True)
class Typo:
    """One typo: its file and line, the line where the enclosing text begins, the original and the mistyped word, and the new file ``text``.

    ``path`` is the kind of the document and the YAML keys that lead to the text, with a `:` appended for the key itself; `sdl` in SDL.
    ``is_reference`` is true for a name in braces.
    """

    file: str
    begins: int
    line: int
    path: str
    original: str
    mistyped: str
    is_reference: bool
    text: str


def shipped() -> dict[str, str]:
    """Return the configuration files of this repository by name."""
    return dict(read_files(FOLDER).texts)


def reference() -> dict[str, str]:
    """Return the examples of the reference as one configuration, with a step and a source of each type."""
    models = [step_type.keys for step_type in STEP_TYPES.values()]
    sources = [step_type.source_keys for step_type in STEP_TYPES.values() if step_type.source_keys]
    account = "- { name: account, type: api, endpoint: '/accounts/{customer_id}', returns: Account }"
    return {
        "operation.yaml": OperationKeys.example,
        "link.yaml": LinkKeys.example,
        "overlay.yaml": f"{ContextKeys.example}---\n{OverlayKeys.example}",
        "sources.yaml": f"sources:\n{_below([keys.example for keys in sources])}\n---\n{_DEFAULTS}",
        "steps.yaml": f"operation: every\nargs: {{ customer_id: ID!, since: String }}\nsteps:\n"
        f"{_below([account, *(keys.example for keys in models)])}".replace("my_team.rating:rate", "tests.kit.typos:rate"),
        "support.yaml": _SUPPORT,
        "types.graphql": _TYPES,
    }


def _below(texts: list[str]) -> str:
    return textwrap.indent("\n".join(texts), "  ")


def typos(texts: Mapping[str, str], random_source: random.Random) -> Iterator[Typo]:
    """Yield one typo for each word of each file."""
    for file, text in texts.items():
        for start, end, path, is_key in _texts(file, text):
            for word in _WORD.finditer(text, start, end):
                mistyped = _mistyped(word[0], random_source)
                changed = text[: word.start()] + mistyped + text[word.end() :]
                line = text.count("\n", 0, word.start()) + 1
                begins = line if path == "sdl" else text.count("\n", 0, start) + 1
                before = text[start : word.start()]
                is_reference = "{" in before.rpartition("}")[2] and not is_key
                yield Typo(file, begins, line, f"{path}:" if is_key else path, word[0], mistyped, is_reference, changed)


def _mistyped(word: str, random_source: random.Random) -> str:
    """Swap, drop, double or replace one letter."""
    while True:
        at = random_source.randrange(len(word) - 1)
        kinds = [
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[:at] + random_source.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :],
        ]
        mistyped = random_source.choice(kinds)
        if mistyped != word and mistyped[0].isalpha():
            return mistyped


def _texts(file: str, text: str) -> Iterator[tuple[int, int, str, bool]]:
    """Yield the texts of a file that hold words: start, end, path of YAML keys, and whether it is a key."""
    if file.endswith(".graphql"):
        ends = [match.span() for match in _NOT_NAMES.finditer(text)]
        for start, end in zip([0, *(end for _, end in ends)], [*(start for start, _ in ends), len(text)], strict=True):
            yield start, end, "sdl", False
        return
    for node in yaml.compose_all(text, yaml.CSafeLoader):
        kind = next(key.value for key, _ in node.value)
        yield from ((start, end, f"{kind}/{path}", is_key) for start, end, path, is_key in _scalars(node, ""))


def _scalars(node: yaml.Node, path: str) -> Iterator[tuple[int, int, str, bool]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = f"{path}.{key.value}".lstrip(".")
            yield key.start_mark.index, key.end_mark.index, below, True
            yield from _scalars(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item, f"{path}[]")
    else:
        yield node.start_mark.index, node.end_mark.index, path, False


def rate(tier: str) -> float:
    """Rate a customer; called by the example of a python step."""
    return float(len(tier))
