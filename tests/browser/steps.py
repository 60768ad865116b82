"""Steps of the configuration that the browser's tests serve: some take their time, some fail."""

import asyncio


async def wait(ms: int, after: object = None) -> dict[str, object]:
    """Give an account after some milliseconds."""
    await asyncio.sleep(ms / 1000)
    return {"id": "7", "name": "Ada"}


async def fail() -> None:
    """Fail."""
    raise ValueError
