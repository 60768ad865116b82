"""Draw a random valid document for a schema: aliases, repeated fields, nested fragments, directives, variables."""

from collections.abc import Mapping
from random import Random

from graphql import (
    GraphQLInputType,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLType,
    GraphQLUnionType,
    OverlappingFieldsCanBeMergedRule,
    is_composite_type,
    is_leaf_type,
    parse,
    validate,
)
from graphql.utilities import do_types_overlap

from tests.oracle.worlds import LINK_FIELDS

DEPTH = 5


class _Document:
    """Writes random selections, and collects the fragments and variables that they use."""

    def __init__(self, random: Random, schema: GraphQLSchema) -> None:
        self.random = random
        self.schema = schema
        self.composites = [found for found in schema.type_map.values() if is_composite_type(found) and found.name[0] != "_"]
        self.fragments: list[tuple[str, GraphQLNamedType, str]] = []
        self.variables: dict[str, tuple[str, object]] = {}
        self.arguments: dict[str, str] = {}
        self.budget = 60
        self.kind = "mutation" if schema.mutation_type and random.random() < 0.4 else "query"
        root = schema.mutation_type if self.kind == "mutation" else schema.query_type
        assert root is not None
        self.root = root

    def text(self) -> str:
        """Return the whole document."""
        selection = self.selection(self.root, DEPTH)
        declared = ", ".join(f"${name}: {text}" for name, (text, _) in self.variables.items())
        fragments = [f"fragment {name} on {on.name} {body}" for name, on, body in self.fragments]
        return "\n".join([f"{self.kind}{f'({declared})' if declared else ''} {selection}", *fragments])

    def selection(self, parent: GraphQLNamedType, depth: int) -> str:
        is_near_root = parent is self.root or depth == DEPTH - 1
        if not is_near_root and self.random.random() < 0.02:
            return "{ }"  # graphql-core and the specification's draft allow it
        items = [self.item(parent, depth) for _ in range(self.random.randint(2 if is_near_root else 1, 4))]
        return "{ " + " ".join(items) + " }"

    def item(self, parent: GraphQLNamedType, depth: int) -> str:
        self.budget -= 1
        kind = self.random.choices(("field", "typename", "inline", "spread", "again"), (64, 6, 14, 8, 8))[0]
        overlapping = [found for found in self.composites if do_types_overlap(self.schema, found, parent)]  # type: ignore[arg-type]
        if kind == "field" and not isinstance(parent, GraphQLUnionType):
            return self.field(parent, depth)
        if kind in {"field", "inline"} and self.budget > 0:
            on = self.random.choice((None, *overlapping))
            head = f"... on {on.name}" if on else "..."
            return f"{head}{self.directive()} {self.selection(on or parent, depth)}"
        if kind == "spread" and self.budget > 0:
            on = self.random.choice(overlapping)
            body = self.selection(on, depth)
            self.fragments.append((f"F{len(self.fragments)}", on, body))
            return f"...{self.fragments[-1][0]}{self.directive()}"
        known = [name for name, on, _ in self.fragments if on in overlapping]
        if kind == "again" and known:
            return f"...{self.random.choice(known)}{self.directive()}"
        return f"{self.random.choice(('', '', 'type: '))}__typename{self.directive()}"

    def field(self, parent: GraphQLNamedType, depth: int) -> str:
        assert isinstance(parent, GraphQLObjectType | GraphQLInterfaceType)
        is_deep = depth > 0 and self.budget > 0
        names = [name for name, field in parent.fields.items() if is_deep or is_leaf_type(_named(field.type))]
        if not names:
            return "__typename"
        links = [name for name in names if name in LINK_FIELDS]
        name = self.random.choice(links if links and self.random.random() < 0.5 else names)
        field = parent.fields[name]
        key = self.random.choice((name, name, f"x_{name}", f"y_{name}"))
        arguments = ""
        if field.args:
            # Fields with the same response key must have the same arguments to be merged (specification 5.3.2).
            known = self.arguments.setdefault(key, "")
            arguments = self.arguments[key] = known or self.argument_texts(
                {each: found.type for each, found in field.args.items()}
            )
        head = (name if key == name else f"{key}: {name}") + arguments + self.directive()
        named = _named(field.type)
        return head if is_leaf_type(named) else f"{head} {self.selection(named, depth - 1)}"

    def argument_texts(self, types: Mapping[str, GraphQLInputType]) -> str:
        texts = []
        for name, wanted in types.items():
            is_strict = isinstance(wanted, GraphQLNonNull)
            literals = {"ID": ('"a"', "7"), "Int": ("1", "2"), "Boolean": ("true", "false"), "Color": ("RED", "BLUE")}
            values = {"ID": ("a", "7"), "Int": (1, 2), "Boolean": (True, False), "Color": ("RED", "BLUE")}
            kind = _named(wanted).name
            if self.random.random() < 0.4:
                variable = f"v{len(self.variables)}"
                self.variables[variable] = (str(wanted), self.random.choice(values[kind]))
                texts.append(f"{name}: ${variable}")
            elif is_strict or self.random.random() < 0.7:
                texts.append(f"{name}: {self.random.choice((*literals[kind], 'null')[: None if not is_strict else 2])}")
        return f"({', '.join(texts)})" if texts else ""

    def directive(self) -> str:
        if self.random.random() > 0.15:
            return ""
        value = self.random.choice(("true", "false", "$c0", "$c1"))
        if value.startswith("$"):
            self.variables.setdefault(value[1:], ("Boolean!", self.random.random() < 0.5))
        return f" @{self.random.choice(('skip', 'include'))}(if: {value})"


def _named(found: GraphQLType) -> GraphQLNamedType:
    while isinstance(found, GraphQLList | GraphQLNonNull):
        found = found.of_type
    assert isinstance(found, GraphQLNamedType)
    return found


def draw_document(random: Random, schema: GraphQLSchema) -> tuple[str, dict[str, object]]:
    """Draw documents until one is valid: conflicts between response keys are not avoided while drawing."""
    while True:
        drawn = _Document(random, schema)
        text = drawn.text()
        if not validate(schema, parse(text), [OverlappingFieldsCanBeMergedRule], max_errors=1):
            return text, {name: value for name, (_, value) in drawn.variables.items()}
