"""One decoded step → a draft: its templates, expressions, source and type are read, but not yet checked against the rest of its operation."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from graphql import GraphQLSchema, is_output_type

from gateway.blueprint import Fallback, Source
from gateway.contract import KeyProblem, StepType
from gateway.errors import Problem, did_you_mean
from gateway.language.expression import Expression, ExpressionError, TooMuchWork, compile_expression
from gateway.load.check.fallback import fallback_problems, read_fallback
from gateway.load.check.policies import policy_problems
from gateway.load.check.references import PlacedReference, placed_references, read_templates, resolve_type
from gateway.load.read.decode import Decoded
from gateway.settings import StepKeys


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What operations and links are checked against: sources with their templates, default sources, step types, SDL types, context values."""

    sources: Mapping[str, Source]
    source_templates: Mapping[str, Mapping[str, object]]
    source_names: frozenset[str]
    defaults: Mapping[str, str]
    step_types: Mapping[str, StepType]
    types: GraphQLSchema | None
    context: Mapping[str, Expression]
    variables: Mapping[str, str] = field(default_factory=dict)
    """Values of environment variables to the references that the files have for them."""


@dataclass(frozen=True, slots=True)
class StepDraft:
    """A step that is not checked yet: its keys, its own templates, and the references of these and of its expressions.

    ``returns`` is a type, as text.
    """

    decoded: Decoded[StepKeys]
    keys: StepKeys
    field: str
    """The field that the step fills if it is exposed."""
    step_type: StepType
    source: Source | None
    templates: Mapping[str, object]
    placed: list[PlacedReference]
    when: Expression | None
    select: Expression | None
    scope_paths: tuple[tuple[str, tuple[str, ...]], ...]
    """The paths into arguments, steps and context that the step's expressions read, each with the key of its expression."""
    returns: str
    fallbacks: tuple[Fallback, ...]

    @property
    def is_exposed(self) -> bool:
        """Whether it fills a field."""
        return self.keys.expose

    @property
    def prerequisites(self) -> tuple[str, ...]:
        """The names of the arguments and steps that it reads, and of the steps in its ``depends_on``."""
        in_templates = (placed.reference.root for placed in self.placed)
        in_expressions = (path[0] for _, path in self.scope_paths if path)
        return tuple(dict.fromkeys((*in_templates, *in_expressions, *self.keys.depends_on)))

    @property
    def fallback_steps(self) -> tuple[str, ...]:
        """The names of the steps that are its fallbacks."""
        return tuple(dict.fromkeys(fallback.step for fallback in self.fallbacks if fallback.step is not None))

    def key_problems(self, arguments: Sequence[str]) -> Iterator[KeyProblem]:
        """Yield the mistakes in single keys, given the names of the arguments in order."""
        if self.keys.cache is not None and not self.step_type.is_idempotent(self.keys):
            yield KeyProblem(
                "cache",
                "a call that may change something cannot be answered with an older reply; remove it",
                "cache-not-idempotent",
            )
        elif self.keys.cache == "http" and not self.step_type.tells_freshness:
            message = f"a step of the type '{self.keys.type}' has no 'Cache-Control'; write 'cache: {{ ttl_ms: … }}'"
            yield KeyProblem("cache", message, "cache-not-http")
        if isinstance(self.keys.list_size, str) and self.keys.list_size not in arguments:
            message = f"unknown argument '{self.keys.list_size}'{did_you_mean(self.keys.list_size, arguments)}"
            yield KeyProblem("list_size", message, "unknown-argument")
        yield from policy_problems(self.keys, self.step_type)
        yield from fallback_problems(self.keys.fallback, lambda: self.step_type.is_idempotent(self.keys))
        yield from self.step_type.check(self.keys, arguments)
        if self.source is not None:
            yield from self.step_type.check_against(self.keys, self.source)


def read_draft(
    decoded: Decoded[StepKeys], check_context: CheckContext, declared: str | None, problems: list[Problem]
) -> StepDraft:
    """Read a step, given the type that the SDL declares for its field. Parts that cannot be read are reported and left out."""
    step_type = check_context.step_types[decoded.keys.type]
    templates = read_templates(decoded, step_type.templated, problems)
    source = _source(decoded, step_type, check_context, problems)
    when, select = _expression(decoded, "when", problems), _expression(decoded, "select", problems)
    expressions = {"when": when, "select": select if step_type.selects_from_scope else None}
    return StepDraft(
        decoded,
        decoded.keys,
        decoded.keys.as_ or decoded.keys.name,
        step_type,
        source,
        templates,
        placed_references(decoded, templates),
        when,
        select,
        tuple((key, path) for key, expression in expressions.items() if expression for path in expression.paths),
        _returns(decoded, step_type, check_context, declared, problems),
        tuple(read_fallback(keys) for keys in decoded.keys.fallback),
    )


def _source(
    decoded: Decoded[StepKeys], step_type: StepType, check_context: CheckContext, problems: list[Problem]
) -> Source | None:
    written = decoded.keys.source
    if step_type.source_keys is None:
        if written is not None:
            message = f"a step of the type '{step_type.name}' calls no source; remove it"
            problems.append(decoded.problem(("source",), message, "unused-source"))
        return None
    name = written or check_context.defaults.get(step_type.name)
    if name is None:
        message = f"no source; write 'source:', or a default in 'defaults: {{ {step_type.name}: … }}'"
        problems.append(decoded.problem((), message, "missing-source"))
    elif name in check_context.sources:
        source = check_context.sources[name]
        if source.keys.type == step_type.name:
            return source
        # A wrong default is reported once, where it is written, not at each step that uses it.
        if written is not None:
            message = f"the source '{name}' is of the type '{source.keys.type}', not '{step_type.name}'"
            problems.append(decoded.problem(("source",), message, "wrong-source"))
    elif name not in check_context.source_names and written is not None:
        candidates = [name for name, source in check_context.sources.items() if source.keys.type == step_type.name]
        hint = did_you_mean(name, candidates) or "; declare it under 'sources:'"
        problems.append(decoded.problem(("source",), f"unknown source '{name}'{hint}", "unknown-source"))
    return None


def _expression(decoded: Decoded[StepKeys], key: str, problems: list[Problem]) -> Expression | None:
    text = getattr(decoded.keys, key)
    if text is None:
        return None
    try:
        return compile_expression(text)
    except TooMuchWork as error:
        problems.append(decoded.problem((key,), str(error), "expensive-expression"))
        return None
    except ExpressionError as error:
        problems.append(decoded.problem((key,), f"not a JMESPath expression: {error}", "bad-expression"))
        return None


def _returns(
    decoded: Decoded[StepKeys], step_type: StepType, check_context: CheckContext, declared: str | None, problems: list[Problem]
) -> str:
    """Return the type of a step as text: that of its field in the SDL, its ``returns``, what its step type knows, or JSON."""
    returns = decoded.keys.returns
    if declared is not None:
        if returns is not None and returns != declared:
            message = f"'{returns}' is not the type of the field in the SDL, '{declared}'; remove one of them"
            problems.append(decoded.problem(("returns",), message, "type-conflict"))
        return declared
    # The step type knows only the type of the raw result; with `select` the value is another one.
    if returns is None and decoded.keys.select is None:
        returns = step_type.returns(decoded.keys)
    if returns is not None and check_context.types is not None:
        resolved = resolve_type(returns, check_context.types)
        if isinstance(resolved, str):
            origin = (
                "" if decoded.keys.returns else "; the function is annotated so: name its class in 'types:', or write 'returns:'"
            )
            problems.append(decoded.problem(("returns",), resolved + origin, "unknown-type"))
            return "JSON"
        if not is_output_type(resolved):
            problems.append(
                decoded.problem(
                    ("returns",), f"'{returns}' is an input type; a step returns an output type", "not-an-output-type"
                )
            )
            return "JSON"
        return str(resolved)
    return returns or "JSON"
