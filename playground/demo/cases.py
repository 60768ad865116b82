"""A subject and an idempotency key in, a new case out, and the same one again for the same key: the demo's only state."""

from dataclasses import dataclass, field

from playground.demo.data import TODAY, Case, list_cases


@dataclass(frozen=True, slots=True)
class CaseDesk:
    """The cases that were opened while an app runs, by customer, the newest first; and which key opened which."""

    opened: dict[str, list[Case]] = field(default_factory=dict)
    by_key: dict[str, Case] = field(default_factory=dict)

    def open(self, customer_id: str, subject: str, key: str | None) -> Case:
        """Open a case; a key that has opened one gives that one again."""
        if key is not None and key in self.by_key:
            return self.by_key[key]
        cases = self.opened.setdefault(customer_id, [])
        case = Case(id=f"c-{customer_id}-new-{len(cases) + 1}", subject=subject, status="OPEN", opened_at=TODAY.isoformat())
        cases.insert(0, case)
        if key is not None:
            self.by_key[key] = case
        return case

    def list(self, customer_id: str) -> "list[Case]":
        """List the cases of a customer, newest first."""
        return [*self.opened.get(customer_id, ()), *list_cases(customer_id)]
