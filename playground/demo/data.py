"""A customer's id in, the demo's data about it out, for the upstream services and the warehouse alike.

Everything is made up and depends on the id alone, so each run, machine and source tells the same story.
"""

from datetime import UTC, date, datetime, timedelta
from math import prod
from types import MappingProxyType
from typing import TypedDict

from playground.demo.draws import draw_between, draw_fraction, draw_one, draw_some

NAMES = (
    "Amara Okafor",
    "Bruno Keller",
    "Chiara Romano",
    "Dmitri Volkov",
    "Elif Demir",
    "Farid Haddad",
    "Greta Lindholm",
    "Hugo Moreau",
    "Ines Carvalho",
    "Jonas Weber",
    "Keiko Tanaka",
    "Liam Byrne",
    "Mei Zhang",
    "Nadia Rahman",
    "Oscar Nilsen",
    "Priya Nair",
    "Quentin Dubois",
    "Rosa Jimenez",
    "Samir Patel",
    "Tomas Novak",
    "Zoe Adler",
)
CUSTOMER_IDS = (*(str(number) for number in range(1, 21)), "42")
CUSTOMER_NAMES = MappingProxyType(dict(zip(CUSTOMER_IDS, NAMES, strict=True)))
TIERS = ("basic", "silver", "gold")
CURRENCIES = ("EUR", "GBP", "USD")
FLAGS = ("paperless", "travel-notice", "new-device", "salary-account", "joint-account")
MERCHANTS = (
    "Corner Bakery",
    "Northline Rail",
    "Harbour Books",
    "Green Grocer",
    "Volt Energy",
    "City Cinema",
    "Skyway Air",
)
FRAUD_SIGNALS = ("new_device", "unusual_amount", "foreign_merchant", "rapid_transfers", "night_activity")
CASE_SUBJECTS = (
    "Card did not arrive",
    "Change of address",
    "Question about a fee",
    "Login code missing",
    "Higher limit",
)
DISPUTE_REASONS = ("charged twice", "not recognised", "goods not received")
TODAY = datetime(2026, 1, 1, tzinfo=UTC)  # the demo's today, so that its data never change
WATCHED_FROM, REVIEWED_FROM = 0.3, 0.6  # fraud scores
MONTHS = tuple(f"2025-{month:02}" for month in range(1, 13))


class Account(TypedDict):
    """What `GET /accounts/{customer_id}` answers."""

    id: str
    name: str
    email: str
    tier: str
    status: str
    opened_on: str
    balance: float
    currency: str
    flags: list[str]


class Transaction(TypedDict):
    """One row of `GET /transactions/{customer_id}`."""

    id: str
    amount: float
    currency: str
    merchant: str
    booked_at: str


class Signal(TypedDict):
    """One reason behind a fraud score, with a weight from 0 to 1."""

    name: str
    weight: float


class FraudSignals(TypedDict):
    """What `GET /fraud/signals/{customer_id}` answers."""

    score: float
    level: str
    signals: list[Signal]


class Credit(TypedDict):
    """What `GET /credit/{tier}` answers: a limit in whole currency units, a yearly rate as a fraction."""

    tier: str
    limit: int
    rate: float


class Case(TypedDict):
    """One row of `GET /cases/{customer_id}`."""

    id: str
    subject: str
    status: str
    opened_at: str


class Dispute(TypedDict):
    """One row of `GET /disputes/{customer_id}`."""

    id: str
    amount: float
    reason: str


class RiskProfile(TypedDict):
    """One row of the warehouse's table `risk_profiles`."""

    customer_id: str
    score: float
    segment: str
    updated_at: str


CREDITS = (
    Credit(tier="basic", limit=1_000, rate=0.149),
    Credit(tier="silver", limit=5_000, rate=0.109),
    Credit(tier="gold", limit=20_000, rate=0.079),
)


def describe_account(customer_id: str) -> Account:
    """Describe the account of a customer; a closed one has no balance."""
    name = CUSTOMER_NAMES[customer_id]
    status = draw_one(("ACTIVE",) * 6 + ("FROZEN", "CLOSED"), "status", customer_id)
    cents = draw_between(0, 900_000, "balance", customer_id)
    opened_on = date(2012, 1, 1) + timedelta(days=draw_between(0, 4_000, "opened_on", customer_id))
    return Account(
        id=customer_id,
        name=name,
        email=f"{name.lower().replace(' ', '.')}@example.com",
        tier=draw_one(TIERS, "tier", customer_id),
        status=status,
        opened_on=opened_on.isoformat(),
        balance=0.0 if status == "CLOSED" else cents / 100,
        currency=draw_one(CURRENCIES, "currency", customer_id),
        flags=draw_some(FLAGS, 0.4, "flags", customer_id),
    )


def list_transactions(customer_id: str) -> list[Transaction]:
    """List the 0 to 12 latest transactions of a customer, newest first."""
    currency = describe_account(customer_id)["currency"]
    return [
        Transaction(
            id=f"t-{customer_id}-{place}",
            amount=draw_between(150, 40_000, "amount", customer_id, place) / 100,
            currency=currency,
            merchant=draw_one(MERCHANTS, "merchant", customer_id, place),
            booked_at=_date_back(place, "booked_at", customer_id),
        )
        for place in range(1, draw_between(0, 12, "transactions", customer_id) + 1)
    ]


def assess_fraud(customer_id: str) -> FraudSignals:
    """Weigh a customer's fraud signals into one score: the chance that at least one of them is right."""
    signals = [
        Signal(name=name, weight=draw_between(5, 60, "weight", customer_id, name) / 100)
        for name in draw_some(FRAUD_SIGNALS, 0.4, "signals", customer_id)
    ]
    score = round(1.0 - prod(1 - signal["weight"] for signal in signals), 3)
    return FraudSignals(score=score, level=_grade(score, ("low", "medium", "high")), signals=signals)


def list_cases(customer_id: str) -> list[Case]:
    """List the 0 to 3 recent cases of a customer, newest first."""
    return [
        Case(
            id=f"c-{customer_id}-{place}",
            subject=draw_one(CASE_SUBJECTS, "subject", customer_id, place),
            status=draw_one(("OPEN", "PENDING", "RESOLVED"), "case status", customer_id, place),
            opened_at=_date_back(place, "opened_at", customer_id),
        )
        for place in range(1, draw_between(0, 3, "cases", customer_id) + 1)
    ]


def list_disputes(customer_id: str) -> list[Dispute]:
    """List the transactions that a customer disputes, with the amounts of these transactions."""
    disputed = draw_some(list_transactions(customer_id), 0.2, "disputes", customer_id)
    return [
        Dispute(
            id=f"d-{customer_id}-{place}",
            amount=transaction["amount"],
            reason=draw_one(DISPUTE_REASONS, "reason", customer_id, place),
        )
        for place, transaction in enumerate(disputed, start=1)
    ]


def profile_risk(customer_id: str) -> RiskProfile:
    """Give the nightly copy of a customer's fraud score, as the warehouse holds it."""
    score = assess_fraud(customer_id)["score"]
    return RiskProfile(
        customer_id=customer_id,
        score=score,
        segment=_grade(score, ("standard", "watch", "review")),
        updated_at=(TODAY - timedelta(hours=2)).isoformat(),
    )


def list_revenues(customer_id: str) -> list[tuple[str, float]]:
    """List (month, revenue) over `MONTHS`; a higher tier earns more."""
    monthly_cents = 800 * (1 + TIERS.index(describe_account(customer_id)["tier"])) ** 2
    return [(month, round(monthly_cents * (0.5 + draw_fraction("revenue", customer_id, month))) / 100) for month in MONTHS]


def _grade(score: float, grades: tuple[str, str, str]) -> str:
    return grades[(score >= WATCHED_FROM) + (score >= REVIEWED_FROM)]


def _date_back(place: int, *key: str | int) -> str:
    """Date the row at `place` (1 is the newest) within its own three days, so that rows stay in order."""
    minutes = draw_between(1, 3 * 24 * 60, *key, place)
    return (TODAY - timedelta(days=3 * (place - 1), minutes=minutes)).isoformat()
