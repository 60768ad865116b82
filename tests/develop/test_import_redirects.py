"""Redirects of what is imported (case L-14): what was given with ``--header`` goes to the origin that it was given for, and nowhere else."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
import trustme

from gateway.develop.importing.fetch import MAX_REDIRECTS, post_json, read_location
from gateway.develop.importing.result import ImportFault
from tests.faults import FaultServer, Json
from tests.faults.behaviours import Redirect, Status
from tests.kit.serving import run_command

CA = trustme.CA()
KEYS = {"X-Api-Key": "key-7f3a", "authorization": "Bearer key-91bc", "Cookie": "key-55e0", "accept": "text/key-aa"}
SECRETS = ("key-7f3a", "key-91bc", "key-55e0", "key-aa")
PATHS: dict[str, tuple[Sequence[str], Sequence[bool]]] = {
    "same origin": (["a", "a"], [True, True]),
    "same origin, relative": (["a", "/next"], [True, True]),
    "another port": (["a", "b"], [True, False]),
    "another name of the same machine": (["a", "a as localhost"], [True, False]),
    "from https to http": (["tls", "a"], [True, False]),
    "from http to https elsewhere": (["a", "tls"], [True, False]),
    "there and back": (["a", "b", "a"], [True, False, False]),
    "later": (["a", "a", "b", "b", "a"], [True, True, False, False, False]),
}
"""Hops by name, and for each whether the headers go there."""


@pytest.mark.case("L-14")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", PATHS)
def test_headers_go_to_their_own_origin_alone(name: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hops, sent = PATHS[name]

    async def scenario() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        CA.issue_cert("127.0.0.1").configure_cert(context)
        async with AsyncExitStack() as stack:
            names = {"a": FaultServer(), "b": FaultServer(), "tls": FaultServer(context)}
            servers = {key: await stack.enter_async_context(server) for key, server in names.items()}
            urls = {key: server.url for key, server in servers.items()}
            urls["a as localhost"] = urls["a"].replace("127.0.0.1", "localhost")
            targets = [hop if hop.startswith("/") else f"{urls[hop]}/{number}" for number, hop in enumerate(hops)]
            owners = [servers[hop.partition(" ")[0] if not hop.startswith("/") else "a"] for hop in hops]
            for number, owner in enumerate(owners):
                path = targets[number] if targets[number].startswith("/") else f"/{number}"
                is_last = number == len(hops) - 1
                owner.script(path, Json({"last": True}) if is_last else Redirect(targets[number + 1], status))
            with CA.cert_pem.tempfile() as trusted:
                monkeypatch.setenv("SSL_CERT_FILE", trusted)
                content = await asyncio.to_thread(read_location, targets[0], KEYS)
            assert b"last" in content
            requests = {id(server): list(server.requests) for server in servers.values()}
            for number, owner in enumerate(owners):
                text = str(requests[id(owner)].pop(0).headers)
                assert [secret in text for secret in SECRETS] == [sent[number]] * len(SECRETS), (number, text)
                assert "application/json" in text or sent[number]
                assert "host" in text.lower()

    asyncio.run(scenario())


@pytest.mark.case("L-14")
def test_one_who_needs_the_header_elsewhere_is_told_the_address() -> None:
    async def scenario() -> tuple[str, str, str]:
        async with FaultServer() as first, FaultServer() as second:
            first.script("/old", Redirect(f"{second.url}/new?token=key-7f3a"))
            second.script("/new", Status(401))
            first.script("/round", Redirect("/round"))
            messages = []
            for work in (
                lambda: read_location(f"{first.url}/old", KEYS),
                lambda: read_location(f"{first.url}/round", KEYS),
                lambda: post_json(f"{first.url}/old", KEYS, {}),
            ):
                with pytest.raises(ImportFault) as fault:
                    await asyncio.to_thread(work)
                messages.append(str(fault.value))
            assert first.count("/round") == MAX_REDIRECTS + 1
            assert f"{second.url}/new, which answered with the status 401" in messages[0]
            assert f"redirects to, {second.url}/new" in messages[2]
            assert second.count("/new") == 1
            return messages[0], messages[1], messages[2]

    told = asyncio.run(scenario())
    assert "no header is sent to another origin" in told[0]
    assert "redirects more than 5 times" in told[1]
    assert not any(secret in text for text in told for secret in SECRETS)


@pytest.mark.case("L-14")
def test_the_command_sends_no_header_on() -> None:
    async def scenario() -> None:
        async with FaultServer() as first, FaultServer() as second:
            first.script("/openapi.json", Redirect(f"{second.url}/openapi.json"))
            second.script("/openapi.json", Json({"openapi": "3.0.3", "info": {"title": "t", "version": "1"}, "paths": {}}))
            await asyncio.to_thread(
                run_command, "import", "openapi", f"{first.url}/openapi.json", "--header", "X-Api-Key: key-7f3a"
            )
            assert "key-7f3a" in str(first.requests[0].headers)
            assert "key-7f3a" not in str(second.requests[0].headers)

    asyncio.run(scenario())
