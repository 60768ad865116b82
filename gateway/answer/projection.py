"""Plan → a function from outcomes to the response data, compiled from generated Python source. graphql-core is the oracle of its tests.

This module writes the root fields and composites; :mod:`gateway.answer.completion_writer` writes everything inside a step's value.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from gateway.answer.code_writer import object_text, tuple_text
from gateway.answer.completion import Null, absent, leaf, mismatch
from gateway.answer.completion_writer import CompletionWriter, is_non_null
from gateway.answer.errors import Errors
from gateway.answer.position import Position
from gateway.blueprint import Strategy
from gateway.contract.outcome import Failure, Skipped, Success
from gateway.document.budget import PlanningBudget
from gateway.document.selection import TYPENAME, Selected
from gateway.plan.links import selected_origins
from gateway.plan.nodes import OperationCall, Plan, Root
from gateway.run import Results
from gateway.run.joins import MISSING, has_only_type, link_value, lookup_table, new_memo

Projection = Callable[[Results, Mapping[str, object], Errors], dict[str, object]]
"""From results, and the values of introspection fields by response key, to ``data``. It appends GraphQL errors in response order."""


def compile_projection(plan: Plan, budget: PlanningBudget) -> Projection:
    """Compile the projection of a plan.

    :raises RequestError: its source is too long for the budget.
    """
    return _Writer(plan, budget).compile()


def projection_source(plan: Plan, budget: PlanningBudget) -> str:
    """Return the Python source of a plan's projection, for people and tests to read."""
    return "".join(_Writer(plan, budget).write())


_SUPPORT = (Null, Success, Failure, Skipped, mismatch, leaf, absent, link_value, has_only_type, lookup_table, new_memo)
"""The classes and functions that the generated code refers to by name."""


class _Writer(CompletionWriter):
    """Writes the source of one projection."""

    def compile(self) -> Projection:
        sources = self.write()
        namespace: dict[str, Any] = {support.__name__: support for support in _SUPPORT} | {"MISSING": MISSING} | self.constants
        for source in sources:  # one by one: the compiler holds Python's lock, so a long source would hold up the event loop
            exec(compile(source, "<projection>", "exec"), namespace)  # noqa: S102 - it is made of schema names and literals alone
        projection: Projection = namespace.pop("project")
        # The other functions are in their own globals. That circle is broken when the projection goes, as frozen objects are never collected.
        weakref.finalize(projection, namespace.clear).atexit = False
        return projection

    def write(self) -> list[str]:
        """Return the source of each function."""
        with self.function("def project(results, meta, errors):\n    outcomes = results.outcomes"):
            values = [(root.selected.key, self.root(root)) for root in self.plan.roots]
            self.line(f"return {object_text(values)}")
        return self.functions

    # -- root fields and composites

    def root(self, root: Root) -> str:
        """Write one root field; return the name of its value."""
        selected, value = root.selected, self.name()
        if root.call is None:
            name = "Mutation" if self.plan.is_mutation else "Query"
            self.line(f"{value} = {name!r}" if selected.name == TYPENAME else f"{value} = meta[{selected.key!r}]")
            return value
        call, path = self.plan.calls[root.call], (repr(selected.key),)
        self.line(f"{value} = results.blocked[{call.index}]")
        with self.block(f"if {value} is not None:"):
            self.line(f"errors.append({value}.error({tuple_text(path)}))")
            self.line(f"{value} = None")
        with self.block("else:"):
            self.composite(value, call, selected, path)
        return value

    def composite(self, value: str, call: OperationCall, selected: Selected, path: tuple[str, ...]) -> None:
        strategy = call.operation.strategy
        nodes = {self.plan.nodes[index].step.name: index for index in call.nodes}
        # The steps whose failure the selected field tells.
        reported = self.constant(frozenset(origin.step for _, origin in selected_origins(strategy, selected)))
        if strategy.whole is not None:
            self.from_node(value, nodes[strategy.whole.step], selected, path, reported)
            return
        (fields,) = selected.parts.values()
        with self.nullable(value, any(is_non_null(part.type) for part in fields if part.name != TYPENAME)):
            objects = self.objects(strategy, selected, nodes, path, reported)
            values = []
            for part in fields:
                name = self.name()
                values.append((part.key, name))
                if part.name == TYPENAME:
                    self.line(f"{name} = {strategy.returns!r}")
                    continue
                if part.name not in strategy.origins:
                    self.line(f"{name} = None")
                    continue
                origin = strategy.origins[part.name]
                part_path = (*path, repr(part.key))
                if origin.key is None:
                    self.from_node(name, nodes[origin.step], part, part_path, reported)
                else:
                    position = Position(part_path, origin.step, nodes[origin.step], (origin.key,))
                    self.from_object(name, objects[origin.step], part, position)
            self.line(f"{value} = {object_text(values)}")

    def from_node(self, value: str, index: int, selected: Selected, path: tuple[str, ...], reported: str) -> None:
        """Write the completion of a field that is filled by the value of a step's node."""
        position = Position(path, self.plan.nodes[index].step.name, index, ())
        self.line(f"{value} = outcomes[{index}]")
        with self.block(f"if type({value}) is Success:"):
            self.line(f"{value} = {value}.value")
            self.complete(value, selected.type, selected.parts, position)
        with self.block("else:"):
            self.missing(value, selected, position, reported)

    def objects(
        self, strategy: Strategy, selected: Selected, nodes: Mapping[str, int], path: tuple[str, ...], reported: str
    ) -> dict[str, str]:
        """Write the lookup of the objects that selected fields are keys of.

        Return the names of their variables by step. An object is None when an error has been recorded for it, and empty when it is null or its
        step was skipped.
        """
        names: dict[str, str] = {}
        for step in dict.fromkeys(origin.step for _, origin in selected_origins(strategy, selected) if origin.key is not None):
            value = names[step] = self.name()
            self.line(f"{value} = outcomes[{nodes[step]}]")
            with self.block(f"if type({value}) is Success:"):
                self.line(f"{value} = {{}} if {value}.value is None else {value}.value")
                with self.block(f"if type({value}) is not dict:"):
                    self.line(f"mismatch(errors, {tuple_text(path)}, {step!r}, 'an object')")
                    self.line(f"{value} = None")
            with self.block("else:"):
                self.line(f"{value} = None if absent({value}, errors, {tuple_text(path)}, {reported}) else {{}}")
        return names

    def from_object(self, value: str, owner: str, part: Selected, position: Position) -> None:
        """Write a field of a flattened composite; when its object is None, the error has been recorded at the path of the operation."""
        with self.block(f"if {owner} is None:"):
            self.line("raise Null" if is_non_null(part.type) else f"{value} = None")
        with self.block("else:"):
            self.line(f"{value} = {owner}.get({part.name!r})")
            self.complete(value, part.type, part.parts, position)
