"""Draw a world from a seed: random types, operations with steps, and links, as configuration and as the schema that clients must see.

A world has its types twice: as SDL of the configuration and, for graphql-core, with the composites, root fields and links that the
gateway must generate.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from tests.oracle.specs import LinkSpec, OperationSpec, StepSpec, World, signature

LEAVES = ("ID", "String", "Int", "Float", "Boolean", "JSON", "Opaque", "Color")
KEYS = ("ID", "String", "Int", "Float", "Boolean", "Color")
"""The types of fields that can be keys of a batch."""
LINK_FIELDS = ("link", "more", "next")
PLAIN = ("ID", "String", "Int", "Float", "Boolean")
"""The leaf types of a world whose replies the gateway can decode by a shape."""


def make_world(seed: int) -> World:
    """Draw types, operations and links."""
    random = Random(seed)
    types = _Types(random)
    operations = [_operation(random, types, index) for index in range(random.randint(1, 3))]
    composites = [_composite(operation, types) for operation in operations if _composite_name(operation) not in types.texts]
    links = {(link.type, link.field): link for link in _links(random, types)}
    roots = {kind: [each for each in operations if each.is_mutation is (kind == "Mutation")] for kind in ("Query", "Mutation")}
    schema = [_with_links(name, text, links) for name, text in types.texts.items()]
    schema += [*composites, *(_root(kind, found) for kind, found in roots.items() if found)]
    by_name = {operation.name: operation for operation in operations}
    return World("\n".join(types.texts.values()), "\n".join(schema), by_name, links)


def _with_links(name: str, text: str, links: Mapping[tuple[str, str], LinkSpec]) -> str:
    added = [link.signature for (owner, _), link in links.items() if owner == name]
    return "\n  ".join([text.removesuffix("}"), *added]) + "\n}" if added else text


def _root(kind: str, operations: Sequence[OperationSpec]) -> str:
    fields = {f"{operation.name}{signature(operation.arguments)}": _root_type(operation) for operation in operations}
    return f"type {kind} {_fields(fields)}"


class _Types:
    """Random named types as SDL; ``fields`` has those of the object types."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.is_plain = is_plain = random.random() < 0.5
        self.leaves = PLAIN if is_plain else LEAVES
        self.texts = {"Color": "enum Color { RED GREEN BLUE }", "JSON": "scalar JSON", "Opaque": "scalar Opaque"}
        self.fields: dict[str, dict[str, str]] = {}
        """The fields of object types and interfaces, without links."""
        self.objects = [f"T{index}" for index in range(random.randint(2, 5))]
        interfaces = [f"I{index}" for index in range(0 if is_plain else random.randint(0, 2))]
        unions = [f"U{index}" for index in range(0 if is_plain else random.randint(0, 2))]
        self.composites = [*self.objects, *interfaces, *unions]
        usual = {name: self.draw() for name in "abcdef"}
        shared = {interface: {f"{interface.lower()}{name}": self.draw() for name in "xy"} for interface in interfaces}
        for interface in interfaces:
            self.fields[interface] = shared[interface]
            self.texts[interface] = f"interface {interface} {_fields(shared[interface])}"
        for name in self.objects:
            own = {field: usual[field] if random.random() < 0.7 else self.draw() for field in random.sample("abcdef", 4)}
            own["k"] = random.choice(PLAIN[:3] if is_plain else KEYS)
            chosen = [interface for interface in interfaces if random.random() < 0.6]
            for interface in chosen:
                own |= {field: self.narrowed(text) for field, text in shared[interface].items()}
            self.add(name, own, chosen)
        for union in unions:
            self.texts[union] = f"union {union} = {' | '.join(random.sample(self.objects, random.randint(1, len(self.objects))))}"

    def add(self, name: str, fields: dict[str, str], interfaces: Sequence[str] = ()) -> None:
        self.fields[name] = fields
        implements = f" implements {' & '.join(interfaces)}" if interfaces else ""
        self.texts[name] = f"type {name}{implements} {_fields(fields)}"

    def draw(self) -> str:
        """Draw a type: sometimes a list or a list of lists, nullable or not at each level."""
        text = self.random.choice(self.leaves if self.random.random() < 0.5 else self.composites)
        for _ in range(self.random.choices((0, 1, 2, 3), (60, 27, 10, 3))[0]):
            text = f"[{text}{self.random.choice(('', '', '', '!'))}]"
        return text + self.random.choice(("", "", "", "!"))

    def narrowed(self, text: str) -> str:
        """Return the type of an interface's field in an implementing type: the same, or sometimes non-null."""
        return text if text.endswith("!") or self.random.random() < 0.7 else f"{text}!"


def _fields(fields: Mapping[str, str]) -> str:
    return "{\n" + "".join(f"  {name}: {text}\n" for name, text in fields.items()) + "}"


def _operation(random: Random, types: _Types, index: int) -> OperationSpec:
    name = f"op{index}"
    possible = {"id": "ID", "n": "Int!", "on": "Boolean", "tint": "Color"}
    arguments = {argument: possible[argument] for argument in random.sample(sorted(possible), random.randint(0, 2))}
    strategy = random.choice(("merge", "merge", "flatten", "pick"))
    is_mutation = index > 0 and random.random() < 0.4
    steps: dict[str, StepSpec] = {}
    for number in range(random.randint(1, 4)):
        steps |= _step(random, types, f"s{index}{number}", strategy, [step for step in steps if "Else" not in step])
    origins: dict[str, tuple[str, str | None]] = {}
    for step in steps.values() if strategy != "pick" else ():
        if step.keys.get("expose", True):
            keys = types.fields[step.returns.rstrip("!")] if strategy == "flatten" else {}
            origins |= {key: (step.name, key) for key in keys} if keys else {step.field: (step.name, None)}
    required = random.choice([step for step in steps if "Else" not in step]) if random.random() < 0.5 else None
    operation = OperationSpec(name, is_mutation, arguments, strategy, required, steps, origins)
    if strategy == "merge" and random.random() < 0.3:
        types.texts[_composite_name(operation)] = _composite(operation, types)
    return operation


def _step(random: Random, types: _Types, name: str, strategy: str, before: Sequence[str]) -> dict[str, StepSpec]:
    """Draw a step, and sometimes a hidden one that is its fallback."""
    returns = types.draw() if random.random() < 0.4 else f"[{random.choice(types.composites)}]{random.choice(('', '!'))}"
    if strategy == "flatten":
        returns = f"F{name}{random.choice(('', '!'))}"
        types.add(returns.rstrip("!"), {f"{name}{field}": types.draw() for field in "pqr"})
    keys: dict[str, Any] = {"name": name, "type": "act", "returns": returns}
    if random.random() < 0.2:
        keys["as"] = f"{name}Field"
    if before and random.random() < 0.3:
        keys["depends_on"] = [random.choice(before)]
    if before and random.random() < 0.15:
        keys["expose"] = False
    after = random.choice(before) if before and random.random() < 0.25 else None
    gate = random.choices((None, "skip", "input"), (80, 12, 8))[0]
    if random.random() > 0.15:
        return {name: StepSpec(keys, returns, after, gate)}
    fallback_step = StepSpec({"name": f"{name}Else", "type": "act", "returns": returns, "expose": False}, returns)
    fallback = {"fallback": [{"step": fallback_step.name}]}
    return {name: StepSpec({**keys, **fallback}, returns, after, gate), fallback_step.name: fallback_step}


def _links(random: Random, types: _Types) -> Iterator[LinkSpec]:
    """Draw links of object types. Links of the same name have the same arguments, so that fragments can select them together."""
    possible = {"id": "ID", "n": "Int", "tint": "Color", "on": "Boolean!"}
    for field in LINK_FIELDS:
        arguments = {name: possible[name] for name in random.sample(sorted(possible), random.choice((0, 0, 1, 1, 2)))}
        needed = frozenset(name for name in arguments if random.random() < 0.3)
        usual = _returned_by_link(random, types)
        for owner in types.objects:
            if random.random() < 0.8:
                returns = usual if random.random() < 0.7 else _returned_by_link(random, types)
                key, match = _batch(random, types, owner, returns)
                yield LinkSpec(
                    type=owner,
                    field=field,
                    returns=returns,
                    arguments=arguments,
                    needed=needed,
                    needs_header=random.random() < 0.1,
                    key=key or _parent_paths(random, types, owner),
                    match=match,
                    max=random.choice((1, 2, 2, 3, 100)) if match else 1,
                )


def _returned_by_link(random: Random, types: _Types) -> str:
    if random.random() < 0.3:
        return types.draw()
    name = random.choice([*types.objects, *types.objects, *(name for name in types.composites if name in types.fields)])
    return random.choice(("{}", "[{}]", "[{}!]") if types.is_plain else ("{}", "{}", "{}!", "[{}]", "[{}!]", "[{}!]!")).format(
        name
    )


def _batch(random: Random, types: _Types, owner: str, returns: str) -> tuple[list[str], list[str]]:
    """Return the key and the match of a batch, or two empty lists for a link without batches."""
    if types.is_plain and returns.strip("[]!") in types.objects and not returns.startswith("[[") and random.random() < 0.8:
        return ["k"], ["k"]
    keys = _fields_for_keys(types, owner)
    matches = _fields_for_keys(types, returns.strip("[]!"))
    count = random.choice((1, 1, 1, 2))
    if returns.startswith("[[") or min(len(keys), len(matches)) < count or random.random() < 0.25:
        return [], []
    return random.sample(keys, count), random.sample(matches, count)


def _fields_for_keys(types: _Types, name: str) -> list[str]:
    return [field for field, text in types.fields.get(name, {}).items() if text.rstrip("!") in KEYS]


def _parent_paths(random: Random, types: _Types, owner: str) -> list[str]:
    """Draw paths into a parent: to its leaves and those of nested objects, to whole objects and lists, and to items of lists."""
    paths = []
    for field in random.sample(sorted(types.fields[owner]), random.choice((1, 1, 2))):
        path, text = field, types.fields[owner][field]
        if text.startswith("[") and random.random() < 0.5:
            path, text = f"{path}.{random.choice((0, 0, 1))}", text.rstrip("!")[1:-1]
        below = types.fields.get(text.rstrip("!"))
        if below and random.random() < 0.8:
            path = f"{path}.{random.choice(sorted(below))}"
        paths.append(path + random.choice(("", "", "", "?")))
    return paths


def _composite_name(operation: OperationSpec) -> str:
    return operation.name.capitalize()


def _composite(operation: OperationSpec, types: _Types) -> str:
    if operation.strategy == "pick":
        return ""
    returns = {step.name: step.returns for step in operation.steps.values()}
    fields = {
        field: types.fields[returns[step].rstrip("!")][key] if key else returns[step]
        for field, (step, key) in operation.origins.items()
    }
    return f"type {_composite_name(operation)} {_fields(fields)}"


def _root_type(operation: OperationSpec) -> str:
    return (
        operation.steps[operation.picked].returns.removesuffix("!")
        if operation.strategy == "pick"
        else _composite_name(operation)
    )
