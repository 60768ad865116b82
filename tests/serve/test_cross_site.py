"""Which hosts a listener without authentication is called by on purpose, and which pages may change something."""

import socket
from contextlib import suppress

import pytest

from gateway.errors import RequestError
from gateway.serve.http.cross_site import LocalHosts, refuse_foreign_page

OWN = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "localhost:8000",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.8.9.1",
    "[::1]",
]
OWN += [
    "[::1]:8000",
    "[::ffff:127.0.0.1]",
    "app.localhost",
    "app.localhost:8000",
    socket.gethostname(),
    f"{socket.gethostname()}:80",
]
FOREIGN = [
    "evil.test",
    "evil.test:8000",
    "evil.test.",
    "EVIL.TEST",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "evil.test:localhost",
]
FOREIGN += [
    "localhost@evil.test",
    "evil.test@localhost",
    "localhost:80@evil.test",
    "localhost,evil.test",
    "localhost evil.test",
    "",
]
FOREIGN += [
    "xlocalhost",
    ".localhost.evil.test",
    "localhost/evil.test",
    "localhost\\evil.test",
    "localhost%2eevil.test",
    "2130706433",
]
FOREIGN += [
    "0x7f.1",
    "127.1",
    "localhost..",
    "[::1",
    "[::1]evil.test",
    "[evil.test]",
    "l\u00f6calhost",
    "localhost\u00ad",
    "localhost\x00",
]
ADDRESSES = ["192.168.1.5", "192.168.1.5:8000", "[fe80::1]:8000", "0.0.0.0:8000", "93.184.216.34"]


def is_answered(hosts: LocalHosts, *host: str, target: bytes = b"/graphql") -> bool:
    with suppress(RequestError):
        hosts.check([(b"host", name.encode("latin-1")) for name in host], target)
        return True
    return False


@pytest.mark.parametrize("bound", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "::", "192.168.1.5", "dev.internal", None])
def test_only_names_of_this_machine_are_answered(bound: str | None) -> None:
    hosts = LocalHosts(bound)
    assert [host for host in OWN if not is_answered(hosts, host)] == []
    assert [host for host in FOREIGN if is_answered(hosts, host)] == []
    is_loopback = bound in {"127.0.0.1", "localhost", "::1"}
    assert [host for host in ADDRESSES if is_answered(hosts, host) == is_loopback] == []
    assert is_answered(hosts, "dev.internal:8000") == (bound == "dev.internal")


def test_every_host_of_a_request_counts() -> None:
    hosts = LocalHosts("127.0.0.1")
    assert is_answered(hosts)  # HTTP/1.0 has none, and no browser speaks it
    assert not is_answered(hosts, "localhost", "evil.test")
    for target, answered in (
        (b"http://localhost:8000/graphql", True),
        (b"HTTP://EVIL.TEST/graphql", False),
        (b"http://localhost@evil.test/", False),
        (b"http://evil.test", False),
        (b"/?http://evil.test/", True),
        (b"*", True),
    ):
        assert is_answered(hosts, "localhost", target=target) == answered


SITES = ["same-origin", "none", "same-site", "cross-site", "", None]
ORIGINS = {
    None: True,
    "http://localhost:9000": True,
    "https://localhost:9000": True,
    "HTTP://LOCALHOST:9000": True,
    "http://localhost": False,
    "http://localhost:9001": False,
    "http://localhost:9000/": False,
    "http://127.0.0.1:9000": False,
    "http://joe@localhost:9000": False,
    "http://localhost:9000.evil.test": False,
    "http://localhost:9000@evil.test": False,
    "chrome-extension://localhost:9000": False,
    "https://evil.test": False,
    "localhost:9000": False,
    "null": False,
    "": False,
    "http://[": False,
}


@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize("site", SITES)
def test_a_page_of_another_origin_changes_nothing(origin: str | None, site: str | None) -> None:
    headers = [(b"host", b"localhost:9000")]
    headers += [(b"origin", origin.encode())] if origin is not None else []
    headers += [(b"sec-fetch-site", site.encode())] if site is not None else []
    is_own = ORIGINS[origin] and site in {"same-origin", "none", None}
    for method in ("POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
        if is_own:
            refuse_foreign_page(method, headers)
            with pytest.raises(RequestError):
                refuse_foreign_page(method, [*headers, (b"origin", b"https://evil.test")])
        else:
            with pytest.raises(RequestError) as refused:
                refuse_foreign_page(method, headers)
            assert refused.value.status == 403
    for method in ("GET", "HEAD", "OPTIONS"):
        refuse_foreign_page(method, headers)
