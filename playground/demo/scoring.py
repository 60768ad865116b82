"""What steps have found about a customer in, a rating out: the Python that a team of its own would bring.

`schema_configs/scoring/` names the class in `types:` and the functions in `call:`.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import strawberry

_GRADES = ((70, "A"), (40, "B"), (0, "C"))


@strawberry.enum(description="A is the best.")
class Grade(Enum):
    """What a rating comes down to."""

    A = "A"
    B = "B"
    C = "C"


@strawberry.type(description="What speaks for a customer.")
class Rating:
    """What `rate` gives; its fields are those of the GraphQL type."""

    grade: Grade
    points: int = strawberry.field(description="From 0 to 100.")
    reasons: list[str]


def rate(account: Mapping[str, Any], revenue: Sequence[Mapping[str, Any]], score: float | None) -> Rating:
    """Rate a customer by the account, the revenue of the year and the fraud score; a plain function, which runs in a thread."""
    yearly = sum(month["revenue"] for month in revenue)
    parts = {
        "active account": 30 * (account["status"] == "ACTIVE"),
        "balance": min(30, round(account["balance"] / 200)),
        "revenue": min(20, round(yearly / 40)),
        "no sign of fraud": 20 * (score is not None and score < 0.3),
    }
    points = sum(parts.values())
    grade = next(grade for least, grade in _GRADES if points >= least)
    return Rating(grade=Grade(grade), points=points, reasons=[name for name, part in parts.items() if part])


async def advise(grade: str, offer: str | None) -> str:
    """Write a line for the adviser; an `async` function, which is awaited on the gateway's own event loop."""
    return f"Offer the {offer}." if grade == "A" and offer else "Nothing to offer for now."
