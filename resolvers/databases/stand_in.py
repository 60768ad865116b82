"""The database of ``stepgraph test``: mocks answer every query."""

from typing import Any

from gateway.contract.mock import MockUpstream
from gateway.errors import Code, StepFault
from resolvers.databases.database import Database, Row
from resolvers.databases.sql.text import Params


class StandInDatabase(Database):
    """A database over a mocked upstream. A mocked value is a list of rows, one row, or null for no row."""

    def __init__(self, upstream: MockUpstream) -> None:
        self._upstream = upstream

    async def select(self, query: str, params: Params, deadline: float) -> list[Row]:
        """Return the mocked rows."""
        bound = dict(params) if isinstance(params, dict) else list(params)
        answer = await self._upstream({"query": " ".join(query.split()), "params": bound})
        if answer.fault is not None or answer.body is not None or answer.status >= 400:
            kind = "connect" if answer.fault == "connect" else ""
            raise StepFault(Code.DOWNSTREAM_SERVICE_ERROR, kind=kind, detail="mocked: the query failed")
        value: Any = answer.value
        return value if isinstance(value, list) else [] if value is None else [value]

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""
