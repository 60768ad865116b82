"""What is asked, of whom, over how many connections; and the bars. All of it data."""

import json
from dataclasses import dataclass, field
from typing import Any

OURS, SHARED = "stepgraph", "stepgraph, sharing"
CEILING, FLOOR = "by hand, no GraphQL", "aiohttp, no GraphQL"
"""The gateway's own client and msgspec, and the usual library: what is left of either when there is no GraphQL and no gateway."""
MERCURIUS, YOGA, APOLLO, STRAWBERRY = "mercurius", "yoga", "apollo", "strawberry"
TAILCALL, TAILCALL_OWN = "tailcall, batched", "tailcall, its own"
GRAPHS = (OURS, CEILING, FLOOR, MERCURIUS, YOGA, APOLLO, STRAWBERRY)
NUMBER = "@@@@@@@@@"
"""In a body: a number of nine digits that no two requests have in common."""


@dataclass(frozen=True, slots=True)
class Case:
    """A query and whom it is put to."""

    name: str
    title: str
    query: str
    servers: tuple[str, ...]
    connections: tuple[int, ...]
    variables: dict[str, Any] = field(default_factory=dict)
    ideal_ms: float | None = None
    """What the upstream calls take, one after the other where they must; the rest of the latency is the gateway's."""

    def body(self) -> bytes:
        """Return the request's body; the operation name tells the server that knows no GraphQL what is asked."""
        body = {"query": self.query, "operationName": self.name, "variables": self.variables}
        return json.dumps(body).replace(f'"{NUMBER}"', NUMBER).encode()


POST = "{ id userId title user { id name username email } }"
DELAYED = "{ id name score }"
CASES = (
    Case("posts", "posts + user", f"query posts {{ posts {POST} }}", (*GRAPHS, TAILCALL), (1, 10, 100)),
    Case(
        "feed",
        "posts + user, no two alike",
        f"query feed($n: Int!) {{ feed(n: $n) {POST} }}",
        (*GRAPHS, TAILCALL),
        (10, 100),
        {"n": NUMBER},
    ),
    Case("titles", "posts { title }", "query titles { posts { title } }", (*GRAPHS, TAILCALL), (10, 100)),
    Case(
        "thin",
        "one small GET, no two alike",
        "query thin($id: Int!) { thing(id: $id) { id name } }",
        (*GRAPHS, TAILCALL),
        (10, 100),
        {"id": NUMBER},
    ),
    Case("version", "no upstream", "query version { version }", (*GRAPHS, TAILCALL), (10, 100)),
    Case("alike", "posts + user, all alike, sharing on", f"query alike {{ posts {POST} }}", (SHARED, TAILCALL_OWN), (1, 10, 100)),
    Case(
        "customer360",
        "Customer 360 over 30, 50, 20 and 5 ms",
        "query customer360 { customer360(customer_id: 42) { "
        f"account {DELAYED} transactions {DELAYED} fraud {DELAYED} risk {DELAYED} }} }}",
        (OURS, FLOOR, MERCURIUS),
        (1,),
        ideal_ms=50,
    ),
    Case(
        "chain",
        "a chain of 30, 20 and 10 ms",
        f"query chain {{ chain(id: 1) {{ first {DELAYED} second {DELAYED} third {DELAYED} }} }}",
        (OURS, FLOOR, MERCURIUS),
        (1,),
        ideal_ms=60,
    ),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A number of the results and what it must be: at least ``must``, or at the most when it is a ceiling."""

    number: str
    must: float
    moonshot: float | None = None
    is_ceiling: bool = False

    def holds(self, value: float) -> bool:
        """Tell whether a value is as it must be."""
        return value <= self.must if self.is_ceiling else value >= self.must


def ratio(case: str, connections: int, server: str, rival: str) -> str:
    """Return the name of the number that says how many times the requests per second of a rival a server has."""
    return f"{case} at {connections}: {server} / {rival}"


BARS = (
    Bar(ratio("posts", 10, OURS, MERCURIUS), 1.3, 2),
    Bar(ratio("posts", 10, OURS, STRAWBERRY), 35),
    Bar(ratio("posts", 10, OURS, YOGA), 8),
    Bar(ratio("posts", 10, OURS, APOLLO), 12),
    Bar("posts at 10: CPU ms per query", 0.28, 0.185, is_ceiling=True),
    Bar(ratio("feed", 10, OURS, MERCURIUS), 1.3, 2),
    Bar(ratio("posts", 100, OURS, MERCURIUS), 1.5, 2),
    Bar("posts: requests per second at 100 / at 10", 0.5),
    Bar(ratio("alike", 1, SHARED, TAILCALL_OWN), 1, 2.3),
    Bar(ratio("alike", 10, SHARED, TAILCALL_OWN), 1, 1.4),
    Bar(ratio("alike", 100, SHARED, TAILCALL_OWN), 0.5, 0.67),
    Bar(ratio("titles", 100, OURS, MERCURIUS), 1.2, 1.6),
    Bar(ratio("titles", 100, OURS, APOLLO), 4),
    Bar(ratio("thin", 10, OURS, MERCURIUS), 1, 1.4),
    Bar(ratio("thin", 10, OURS, APOLLO), 2.5),
    Bar(ratio("version", 100, OURS, MERCURIUS), 0.9, 1.4),
    Bar(ratio("version", 100, OURS, APOLLO), 2),
    Bar("customer360: p50 over its slowest call, ms", 1.3, 0.7, is_ceiling=True),
    Bar("chain: p50 over its sum, ms", 3, 1.6, is_ceiling=True),
    Bar("5,000 operations: start, s", 3, 1.5, is_ceiling=True),
    Bar("5,000 operations: first query of a new operation, ms", 16, is_ceiling=True),
    Bar("5,000 operations: CPU per query over that at 10", 1.1, is_ceiling=True),
    Bar("memory of a worker, MiB", 80, 45, is_ceiling=True),
    Bar("memory over all requests, growth in %", 3, is_ceiling=True),
    Bar("1,000 slow calls: s over ideal", 1.3, is_ceiling=True),
    Bar("1,000 slow calls: loop lag, ms", 100, is_ceiling=True),
    Bar("1,000 slow calls: not answered", 0, is_ceiling=True),
    Bar("2 workers over 1", 1.6),
    Bar("guards: CPU with over without, posts + user", 1.1, is_ceiling=True),
)
