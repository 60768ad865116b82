"""Fetch the content of a file or URL, or the response of a GraphQL endpoint. Size and time are bounded; the environment is not read."""

import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from gateway.develop.importing.result import ImportFault

MAX_BYTES = 64_000_000
MAX_SECONDS = 60.0
MAX_REDIRECTS = 5
_READ_TIMEOUT = 15.0
"""Seconds for each network operation: connecting, or waiting for the next part of the response."""

_ACCEPT = {"accept": "application/json, application/yaml;q=0.9, */*;q=0.5"}


def is_url(text: str) -> bool:
    """Tell whether a text is an HTTP URL rather than a file name."""
    return text.lower().startswith(("http://", "https://"))


def shown(location: str) -> str:
    """Return a file name or URL for display: without credentials and query, which can hold secrets."""
    if not is_url(location):
        return location
    url = urlsplit(location)
    return urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))


def read_location(location: str, headers: Mapping[str, str]) -> bytes:
    """Return the content of a file or URL.

    :raises ImportFault: it does not exist, is not reachable, or is too large.
    """
    return _send("GET", location, headers, None) if is_url(location) else _read_file(Path(location))


def post_json(url: str, headers: Mapping[str, str], body: object) -> bytes:
    """Send JSON to a URL by POST and return the content of the response.

    :raises ImportFault: it is not a URL or not reachable, or the response is too large or not successful.
    """
    if not is_url(url):
        raise ImportFault(f"'{url}' is not a URL such as https://api.example.com/graphql")
    return _send("POST", url, headers, body)


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImportFault(f"{path} is larger than {MAX_BYTES // 1_000_000} MB")
        return path.read_bytes()
    except FileNotFoundError:
        raise ImportFault(f"there is no file {path}; give the path of a file, or a URL with http:// or https://") from None
    except OSError as error:
        raise ImportFault(f"{path} cannot be read: {error.strerror}") from None


def _send(method: str, url: str, headers: Mapping[str, str], body: object) -> bytes:
    give_up_at = time.monotonic() + MAX_SECONDS
    try:
        # The authorities of the operating system (or of SSL_CERT_FILE), as for the calls of the gateway; httpx would take its own.
        with httpx.Client(trust_env=False, verify=ssl.create_default_context(), timeout=_READ_TIMEOUT) as client:
            request = client.build_request(method, url, headers={**_ACCEPT, **headers}, json=body)
            own: _Origin | None = _origin(request.url)
            for _ in range(MAX_REDIRECTS + 1):
                with closing(client.send(request, stream=True)) as response:
                    following = response.next_request if method == "GET" else None
                    if following is None:
                        return _content(response, url, own, give_up_at)
                own = _still_own(own, _origin(following.url))
                if own is None:
                    # httpx would remove Authorization alone, and a key may be in a header of any name.
                    request = client.build_request(method, following.url, headers=_ACCEPT)
                else:
                    request = following
                    request.headers.update(headers)  # httpx has removed the cookie
        raise ImportFault(f"{shown(url)} redirects more than {MAX_REDIRECTS} times; give the address that it leads to")
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise ImportFault(f"{shown(url)} is not reachable: {reason}; is the address right, and is the service up?") from None


_Origin = tuple[str, str, int | None]


def _origin(url: httpx.URL) -> _Origin:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _still_own(own: _Origin | None, origin: _Origin) -> _Origin | None:
    """Return an origin if headers that were given for ``own`` may go there, else None. Once a redirect has left its origin, none goes any more."""
    if own is None:
        return None
    is_upgrade = own[0] == "http" and own[2] == 80 and origin == ("https", own[1], 443)
    return origin if origin == own or is_upgrade else None


def _content(response: httpx.Response, url: str, own: _Origin | None, give_up_at: float) -> bytes:
    if response.is_success:
        return _read_body(response, give_up_at)
    if own is None:
        told = f"{shown(url)} redirects to {shown(str(response.url))}, which answered with the status {response.status_code}"
        raise ImportFault(f"{told}; no header is sent to another origin: give that address if it may have yours")
    raise ImportFault(f"{shown(url)} answered with the status {response.status_code}{_hint(response)}")


def _hint(response: httpx.Response) -> str:
    if response.next_request is not None:
        return f"; give the address that it redirects to, {shown(str(response.next_request.url))}"
    if response.status_code in {401, 403}:
        return "; give credentials with --header"
    return "; is the path of the URL right?" if response.status_code in {404, 405} else ""


def _read_body(response: httpx.Response, give_up_at: float) -> bytes:
    """Read a body chunk by chunk within the limits: httpx limits the time between two chunks only."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > MAX_BYTES:
            raise ImportFault(f"{shown(str(response.url))} is larger than {MAX_BYTES // 1_000_000} MB")
        if time.monotonic() > give_up_at:
            raise ImportFault(f"{shown(str(response.url))} did not answer within {MAX_SECONDS:.0f} seconds")
    return bytes(body)
