"""TLS of every transport, over real sockets: whom it trusts, and that nothing is sent to whom it does not."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
import trustme
import uvloop

from gateway.errors import Code, StepFault
from resolvers.transport.http1 import Http1Transport
from resolvers.transport.httpx_transport import HttpxTransport
from resolvers.transport.tls import tls_context
from resolvers.transport.transport import Limits, Transport, UpstreamRequest
from tests.faults import FaultServer, Garbage, Hang, Json

Open = Callable[[str, ssl.SSLContext | None], Transport]
OPEN: dict[str, Open] = {
    "http1": lambda url, tls: Http1Transport(url, Limits(1, 10_000), tls),
    "httpx": lambda url, tls: HttpxTransport(url, Limits(1, 10_000), tls),
}
CA = trustme.CA()
GET = UpstreamRequest("GET", "/", ())


@pytest.fixture(params=[*OPEN, "http1 on uvloop"])
def open_transport(request: pytest.FixtureRequest) -> Iterator[Open]:
    transport, _, loop = request.param.partition(" on ")
    if loop:
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    yield OPEN[transport]
    asyncio.set_event_loop_policy(None)


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def server_for(host: str) -> FaultServer:
    """Make a server that shows the certificate of a host."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(host).configure_cert(context)
    return FaultServer(context)


def answer_of(open_transport: Open, server: FaultServer, tls: ssl.SSLContext | None, host: str = "127.0.0.1") -> list[bytes]:
    """Return the bodies of two requests over one connection, which is closed in the end."""

    async def ask() -> list[bytes]:
        async with asyncio.timeout(20), server:
            server.script("/", Json("x" * 5_000), Json(2))
            transport = open_transport(server.url.replace("127.0.0.1", host), tls)
            try:
                return [(await transport.send(GET)).body for _ in range(2)]
            finally:
                await transport.aclose()
                for connection in server.connections:
                    await server.wait_closed(connection)
                assert len(server.connections) <= 1

    return asyncio.run(ask())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_certificate_of_a_trusted_authority_is_taken(open_transport: Open, host: str) -> None:
    bodies = answer_of(open_transport, server_for(host), trusting(CA), host)
    assert bodies == [b'"%s"' % (b"x" * 5_000), b"2"]


@pytest.mark.parametrize("transport", [Http1Transport, HttpxTransport])
def test_a_certificate_is_that_of_the_name_also_where_only_some_addresses_are_allowed(
    transport: type[Http1Transport | HttpxTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_transport(url: str, tls: ssl.SSLContext | None) -> Transport:
        return transport(url, Limits(1, 10_000, denies_private=True), tls)

    monkeypatch.setattr("resolvers.transport.names.is_public", lambda address: address == "127.0.0.1")
    assert answer_of(open_transport, server_for("localhost"), trusting(CA), "localhost")[1] == b"2"


@pytest.mark.parametrize(
    ("host", "tls"),
    [("other.test", trusting(CA)), ("127.0.0.1", trusting(trustme.CA())), ("127.0.0.1", None)],
    ids=["another-host", "another-authority", "authorities-of-the-system"],
)
def test_any_other_certificate_is_a_fault_of_connecting(open_transport: Open, host: str, tls: ssl.SSLContext | None) -> None:
    server = server_for(host)
    with pytest.raises(StepFault) as caught:
        answer_of(open_transport, server, tls)
    assert (caught.value.code, caught.value.kind) == (Code.SUBREQUEST_HTTP_ERROR, "connect")
    assert server.requests == []


def test_an_old_version_of_tls_is_refused(open_transport: Open) -> None:
    server = server_for("127.0.0.1")
    assert server._tls is not None
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        server._tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(StepFault) as caught:
        answer_of(open_transport, server, trusting(CA))
    assert caught.value.kind == "connect"


def test_the_usual_settings_verify_and_speak_http_1_only() -> None:
    context = tls_context()
    assert context is tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("cancelled_after", [0.02, 0.1])
def test_a_server_that_never_shakes_hands_is_given_up(open_transport: Open, cancelled_after: float) -> None:
    async def ask() -> bytes:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            transport = open_transport(f"https://127.0.0.1:{listening.getsockname()[1]}", trusting(CA))
            sending = asyncio.create_task(transport.send(GET))
            peer, _ = await loop.sock_accept(listening)
            with peer:
                peer.setblocking(False)
                await asyncio.sleep(cancelled_after)
                sending.cancel()
                await asyncio.wait({sending}, timeout=1)
                assert sending.cancelled()
                await transport.aclose()
                async with asyncio.timeout(3):
                    while data := await loop.sock_recv(peer, 65_536):
                        assert data
                return data

    assert asyncio.run(ask()) == b""


@pytest.mark.parametrize("behaviour", [Hang(), Garbage()])
def test_an_exchange_over_tls_ends_as_one_without(open_transport: Open, behaviour: Hang | Garbage) -> None:
    async def ask() -> None:
        async with asyncio.timeout(20), server_for("127.0.0.1") as server:
            server.script("/", behaviour)
            transport = open_transport(server.url, trusting(CA))
            with pytest.raises((TimeoutError, StepFault)):
                async with asyncio.timeout(0.5):
                    await transport.send(GET)
            await server.wait_closed("/")
            await transport.aclose()

    asyncio.run(ask())
