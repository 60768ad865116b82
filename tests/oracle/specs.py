"""The parts of a world, operations with steps and links, and their text as configuration and as SDL."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONTEXT = "context: { said: request.headers }"


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step: its keys in YAML, and its type.

    ``after`` is a step whose success its condition requires. ``gate`` is what a request header of its name controls: whether the step is
    skipped (``skip``), or whether one of its inputs is present (``input``).
    """

    keys: Mapping[str, Any]
    returns: str
    after: str | None = None
    gate: str | None = None

    @property
    def name(self) -> str:
        name: str = self.keys["name"]
        return name

    @property
    def field(self) -> str:
        field: str = self.keys.get("as", self.name)
        return field

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The steps that run before it."""
        return (*self.keys.get("depends_on", ()), *([self.after] if self.after else ()))

    @property
    def fallback_step(self) -> str | None:
        """The step that runs when this one fails."""
        return next((fallback["step"] for fallback in self.keys.get("fallback", ())), None)

    def config(self, operation: str, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Return the YAML mapping. Its input identifies the operation call."""
        inputs = {"in": operation, **{name: f"{{{name}?}}" for name in arguments}}
        conditions = [f"type({self.after}) != 'nothing'"] if self.after else []
        if self.gate == "skip":
            conditions.append(f"context.said.{self.name} != 'skip'")
        if self.gate == "input":
            inputs["header"] = f"{{request.headers.{self.name}}}"
        return {**self.keys, "input": inputs, **({"when": " && ".join(conditions)} if conditions else {})}


@dataclass(frozen=True, slots=True)
class OperationSpec:
    """An operation; ``origins`` maps the fields of its composite to a step, and for `flatten` to a key of its object."""

    name: str
    is_mutation: bool
    arguments: Mapping[str, str]
    strategy: str
    required: str | None
    steps: Mapping[str, StepSpec]
    origins: Mapping[str, tuple[str, str | None]]

    @property
    def picked(self) -> str:
        """The first step, whose value is the operation's for `pick`."""
        return next(iter(self.steps))

    @property
    def config(self) -> str:
        """The YAML document, as JSON."""
        aggregation: dict[str, Any] = {"strategy": self.strategy, **({"step": self.picked} if self.strategy == "pick" else {})}
        aggregation["required_steps"] = [self.required] if self.required else []
        document = {"operation": self.name, "kind": "mutation" if self.is_mutation else "query", "args": dict(self.arguments)}
        steps = [step.config(self.name, self.arguments) for step in self.steps.values()]
        return json.dumps({**document, "aggregation": aggregation, "steps": steps})


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """A link; ``key`` are the paths in a parent of its step's inputs, with ``?`` for those that may be absent.

    ``needed`` arguments must not be null when the step is called; with ``needs_header``, a request header named like the link's field is
    required too. Without ``match`` there is one call for each parent.
    """

    type: str
    field: str
    returns: str
    arguments: Mapping[str, str]
    needed: frozenset[str]
    needs_header: bool
    key: Sequence[str]
    match: Sequence[str]
    max: int

    @property
    def name(self) -> str:
        return f"{self.type}.{self.field}"

    @property
    def is_list(self) -> bool:
        return self.returns.startswith("[")

    @property
    def signature(self) -> str:
        """The field in the clients' SDL."""
        return f"{self.field}{signature(self.arguments)}: {self.returns}"

    @property
    def config(self) -> str:
        """The YAML document, as JSON."""
        inputs = {name: f"{{{name}}}" if name in self.needed else f"{{{name}?}}" for name in self.arguments}
        inputs |= {"header": f"{{request.headers.{self.field}}}"} if self.needs_header else {}
        step: dict[str, Any] = {"type": "act", "part": self.name}
        if self.match:
            step |= {
                "input": {"keys": "{keys}", **inputs},
                "batch": {"key": [*self.key], "match": [*self.match], "max": self.max},
            }
        else:
            step["input"] = {**{f"k{index}": f"{{parent.{path}}}" for index, path in enumerate(self.key)}, **inputs}
        return json.dumps({"field": self.name, "returns": self.returns, "args": dict(self.arguments), "step": step})


@dataclass(frozen=True, slots=True)
class World:
    """A configuration for several documents: ``types`` are its SDL, ``schema`` is the schema that clients must see."""

    types: str
    schema: str
    operations: Mapping[str, OperationSpec]
    links: Mapping[tuple[str, str], LinkSpec]
    """By type and field."""

    @property
    def config(self) -> str:
        """The configuration."""
        operations = [operation.config for operation in self.operations.values()]
        return "\n---\n".join([CONTEXT, *operations, *(link.config for link in self.links.values())])


def signature(arguments: Mapping[str, str]) -> str:
    """Return arguments as SDL, with brackets; empty without arguments."""
    texts = ", ".join(f"{name}: {text}" for name, text in arguments.items())
    return f"({texts})" if texts else ""
