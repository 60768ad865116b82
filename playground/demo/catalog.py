"""GraphQL requests in, companies and what the bank offers out: the upstream of the demo that speaks GraphQL itself."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypedDict

import strawberry
from starlette.types import Receive, Scope, Send
from strawberry.asgi import GraphQL
from strawberry.schema.config import StrawberryConfig

from playground.demo.data import TIERS


class CompanyRow(TypedDict):
    """A company as the catalog stores it."""

    id: str
    name: str
    city: str


COMPANIES = (
    CompanyRow(id="1", name="Harbour Books", city="Bergen"),
    CompanyRow(id="2", name="Volt Energy", city="Lyon"),
    CompanyRow(id="3", name="Northline Rail", city="Leeds"),
)


@strawberry.type
class Offer:
    """A product that customers of a tier may have."""

    id: strawberry.ID
    name: str
    tier: str
    monthly_fee: float


@strawberry.type
class Company:
    """An employer; its people may have the offers of the tier that it has agreed upon."""

    id: strawberry.ID
    name: str
    city: str

    @strawberry.field
    def offers(self) -> list[Offer]:
        """List the offers of its tier."""
        return list_offers(TIERS[int(self.id) % len(TIERS)])


OFFERS = tuple(
    Offer(id=strawberry.ID(f"{tier}-{name.lower()}"), name=f"{tier.title()} {name}", tier=tier, monthly_fee=fee + 2.5 * place)
    for place, tier in enumerate(TIERS)
    for name, fee in (("Account", 0.0), ("Card", 1.5))
)


def list_offers(tier: str) -> list[Offer]:
    """List the offers of a tier; none for an unknown one."""
    return [offer for offer in OFFERS if offer.tier == tier]


def find_companies(ids: list[str]) -> list[Company]:
    """Find the companies with these ids, in the order of the catalog; unknown ids are left out."""
    return [Company(id=strawberry.ID(row["id"]), name=row["name"], city=row["city"]) for row in COMPANIES if row["id"] in ids]


@strawberry.type
class Query:
    """What the catalog can be asked for."""

    @strawberry.field
    def company(self, id: strawberry.ID) -> Company | None:  # noqa: A002 - the name of the argument in GraphQL
        """Find one company; null when there is none."""
        return next(iter(find_companies([id])), None)

    @strawberry.field
    def companies(self, ids: list[strawberry.ID]) -> list[Company]:
        """Find many companies at once."""
        return find_companies([*ids])

    @strawberry.field
    def offers(self, tier: Annotated[str, strawberry.argument(description="basic, silver or gold")]) -> list[Offer]:
        """List the offers of a tier."""
        return list_offers(tier)


class Catalog(GraphQL[None, None]):
    """The endpoint, an ASGI app; `admit` runs before each request and may refuse it."""

    def __init__(self, admit: Callable[[str], Awaitable[None]]) -> None:
        schema = strawberry.Schema(query=Query, config=StrawberryConfig(auto_camel_case=False))
        super().__init__(schema, graphql_ide=None)
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the service's time, then answer."""
        await self._admit("catalog")
        await super().__call__(scope, receive, send)
