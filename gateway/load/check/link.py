"""Decoded links → their part of the Blueprint: each is checked by itself, then all together by the types that have them as fields."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from graphql import (
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    get_named_type,
    is_output_type,
)
from graphql.utilities import is_type_sub_type_of

from gateway.blueprint import Argument, Link
from gateway.errors import Problem, did_you_mean
from gateway.language.template import Reference
from gateway.load.check.arguments import read_arguments
from gateway.load.check.draft import CheckContext, StepDraft, read_draft
from gateway.load.check.fallback import fallback_problems_in_link
from gateway.load.check.references import Scope, path_mistake, resolve_type
from gateway.load.check.sensitive_steps import reads_sensitive
from gateway.load.check.step import StepScope, build_step
from gateway.load.read.decode import Decoded, DecodedLink
from gateway.load.types.sensitive import holds_sensitive, is_marked_sensitive
from gateway.settings import BatchKeys, LinkKeys

NOT_IN_A_LINK = {
    "source": None,
    "when": "a link has no other steps to read",
    "depends_on": "a link has no other steps to wait for",
    "as_": "a link is named by 'field:'",
    "expose": "a link is always exposed",
    "returns": "the type of a link is written beside 'field:'",
}
"""Keys of a step that the step of a link must not have, with the reason; None where it may have the key."""

_WITH_FIELDS = GraphQLObjectType | GraphQLInterfaceType


def build_link(decoded: DecodedLink, check_context: CheckContext, problems: list[Problem]) -> Link | None:
    """Check a link and return it; None if there is any problem, which is added to ``problems``."""
    before = len(problems)
    builder = _LinkBuilder(decoded, check_context, problems)
    builder.check()
    return builder.build() if len(problems) == before else None


def links_by_type(
    built: Sequence[tuple[DecodedLink, Link]], types: GraphQLSchema, problems: list[Problem]
) -> dict[tuple[str, str], Link]:
    """Return links by type and field. The link of an interface is a field of each type that implements it, unless that has its own link."""
    own = {(link.type, link.field): (decoded, link) for decoded, link in built}
    links = {name: link for name, (_, link) in own.items()}
    for decoded, link in built:
        interface = types.type_map.get(link.type)
        for implementer in _implementers(interface, types) if isinstance(interface, GraphQLInterfaceType) else ():
            name = implementer.name, link.field
            if name in own:
                problems += _implementation_problems(*own[name], link, types)
            elif link.field in implementer.fields:
                message = f"the type '{implementer.name}' has a field '{link.field}' in the SDL; remove one of them"
                problems.append(decoded.link.problem(("field",), message, "duplicate-field"))
            elif (other := links.setdefault(name, link)) is not link:
                message = f"the link '{other.step.name}' fills the field '{'.'.join(name)}' too; give that a link of its own"
                problems.append(decoded.link.problem(("field",), message, "duplicate-field"))
    return links


def _implementers(interface: GraphQLInterfaceType, types: GraphQLSchema) -> list[GraphQLObjectType | GraphQLInterfaceType]:
    implementations = types.get_implementations(interface)
    return [*implementations.objects, *implementations.interfaces]


def _implementation_problems(decoded: DecodedLink, link: Link, of_interface: Link, types: GraphQLSchema) -> Iterator[Problem]:
    """Yield why a type's own link does not implement the field of an interface's link (GraphQL spec, IsValidImplementation)."""
    returned, promised = (resolve_type(each.returns, types) for each in (link, of_interface))
    assert not isinstance(returned, str)
    assert not isinstance(promised, str)
    if not is_type_sub_type_of(types, returned, promised):
        message = f"'{link.returns}' is not '{of_interface.returns}', which '{of_interface.step.name}' promises"
        yield decoded.link.problem(("returns",), message, "type-conflict")
    ours, theirs = ({argument.name: argument for argument in each.arguments} for each in (link, of_interface))
    mismatches = [name for name in theirs if name not in ours or ours[name].type != theirs[name].type]
    mismatches += [name for name in ours if name not in theirs and ours[name].is_required]
    for name in mismatches:
        message = (
            f"the argument '{name}' is not as '{of_interface.step.name}' has it: ({', '.join(map(str, of_interface.arguments))})"
        )
        yield decoded.link.problem(("args", name) if name in ours else ("field",), message, "type-conflict")


class _LinkBuilder:
    """Checks one link, and builds it if there is no problem."""

    def __init__(self, decoded: DecodedLink, check_context: CheckContext, problems: list[Problem]) -> None:
        self.link: Decoded[LinkKeys] = decoded.link
        self.keys = decoded.link.keys
        self.check_context = check_context
        self.problems = problems
        self.type_name, _, self.field = self.keys.field.partition(".")
        self.draft: StepDraft = read_draft(decoded.step, check_context, None, problems)
        self.batch: BatchKeys | None = decoded.step.keys.batch
        self.parent = self._parent()
        self.returns = self._returns()
        self.arguments = read_arguments(decoded.link, self.keys.args, check_context.types, problems)

    def check(self) -> None:
        """Report all problems."""
        of_link: dict[str, GraphQLType | None] = {"keys": None} if self.batch else {"parent": self.parent}
        names = Scope({item.argument.name: item.type for item in self.arguments}, {}, of_link, self.check_context.context)
        for placed in self.draft.placed:
            mistake = names.mistake(placed.reference.path)
            if mistake:
                hint = (
                    " in a link with 'batch:', which has {keys}"
                    if self.batch
                    else " in a link without 'batch:', which has {parent.…}"
                )
                root = placed.reference.root
                message = mistake[0] + hint if root in {"keys", "parent"} and root not in of_link else mistake[0]
                self._report_step(placed.path, message, mistake[1])
        for key, reason in NOT_IN_A_LINK.items():
            if reason and key in self.draft.keys.model_fields_set:
                self._report_step((key.rstrip("_"),), f"{reason}; remove it", "unused-key")
        for problem in fallback_problems_in_link(self.draft.keys.fallback):
            self.problems.append(self.draft.decoded.from_key_problem(problem))
        for problem in self.draft.key_problems([item.argument.name for item in self.arguments]):
            self.problems.append(self.draft.decoded.from_key_problem(problem))
        self._check_keys()

    def build(self) -> Link:
        """Return the link. Only valid without problems."""
        arguments = tuple(item.argument for item in self.arguments)
        sensitive = frozenset({self.keys.field} if self._is_sensitive(arguments) else ())
        scope = StepScope(tuple(argument.name for argument in arguments), sensitive=sensitive)
        # A batch returns the results of many parents, so its step returns a list even if the field is not one.
        returns = f"[{self.keys.returns.strip('[]!')}]" if self.batch else self.keys.returns
        step = build_step(self.draft, self.check_context, scope, name=self.keys.field, returns=returns, is_required=False)
        return Link(
            type=self.type_name,
            field=self.field,
            returns=self.keys.returns,
            description=self.keys.description,
            deprecated=self.keys.deprecated,
            place=self.link.place,
            arguments=arguments,
            key=self._key(),
            match=tuple(_names(self.batch.match)) if self.batch else (),
            max=self.batch.max if self.batch else 1,
            step=step,
        )

    def _is_sensitive(self, arguments: Sequence[Argument]) -> bool:
        """Tell whether the link's value, an argument that its step reads, or a key field of the parent is sensitive."""
        fields, types = self.parent.fields if self.parent else {}, self.check_context.types
        is_key = any(is_marked_sensitive(fields.get(reference.path[0])) for reference in self._key() if reference.path)
        is_value = self.draft.keys.sensitive or holds_sensitive(self.keys.returns, types)
        return is_key or is_value or reads_sensitive(self.draft, arguments)

    def _key(self) -> tuple[Reference, ...]:
        if self.batch:
            return tuple(Reference((name,)) for name in _names(self.batch.key))
        read = (placed.reference for placed in self.draft.placed if placed.reference.root == "parent")
        return tuple(dict.fromkeys(replace(reference, path=reference.path[1:]) for reference in read))

    def _parent(self) -> GraphQLObjectType | GraphQLInterfaceType | None:
        types = self.check_context.types
        if types is None:
            return None
        parent = types.type_map.get(self.type_name)
        if not isinstance(parent, _WITH_FIELDS):
            known = [name for name, declared in types.type_map.items() if isinstance(declared, _WITH_FIELDS)]
            hint = did_you_mean(self.type_name, known) or "; declare it in a .graphql file"
            self._report(("field",), f"unknown object type or interface '{self.type_name}'{hint}", "unknown-type")
            return None
        if self.field in parent.fields:
            message = f"the type '{self.type_name}' has a field '{self.field}' in the SDL; remove one of them"
            self._report(("field",), message, "duplicate-field")
        return parent

    def _returns(self) -> GraphQLType | None:
        resolved = resolve_type(self.keys.returns, self.check_context.types) if self.check_context.types else None
        if isinstance(resolved, str):
            self._report(("returns",), resolved, "unknown-type")
        elif resolved is not None and not is_output_type(resolved):
            self._report(("returns",), f"'{self.keys.returns}' is an input type", "not-an-output-type")
        return None if isinstance(resolved, str) else resolved

    def _check_keys(self) -> None:
        used = {placed.reference.root for placed in self.draft.placed}
        if self.batch is None:
            if "parent" not in used:
                self._report_step((), "the step does not say which parent it is for; refer to it as {parent.name}", "missing-key")
            return
        if "keys" not in used:
            self._report_step(("batch",), "the keys go nowhere; refer to them as {keys}", "missing-key")
        if len(_names(self.batch.key)) != len(_names(self.batch.match)):
            self._report_step(("batch",), "'key' and 'match' have as many names each", "bad-batch")
        returned = get_named_type(self.returns) if self.returns else None
        for key, owner, names in (("key", self.parent, self.batch.key), ("match", returned, self.batch.match)):
            for name in _names(names):
                mistake = path_mistake(owner, (key, name))
                if mistake:
                    self._report_step(("batch", key), f"{mistake}; a key is a field of the SDL", "unknown-field")

    def _report(self, path: tuple[str | int, ...], message: str, code: str) -> None:
        self.problems.append(self.link.problem(path, message, code))

    def _report_step(self, path: tuple[str | int, ...], message: str, code: str) -> None:
        self.problems.append(self.draft.decoded.problem(path, message, code))


def _names(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else names
