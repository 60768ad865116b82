"""Fetch the content of a file or URL, or the response of a GraphQL endpoint. Size and time are bounded; the environment is not read."""

import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx

from gateway.develop.importing.result import ImportFault

MAX_BYTES = 64_000_000
MAX_SECONDS = 60.0
_READ_TIMEOUT = 15.0
"""Seconds for each network operation: connecting, or waiting for the next part of the response."""


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
    request_headers = {"accept": "application/json, application/yaml;q=0.9, */*;q=0.5", **headers}
    try:
        with (
            httpx.Client(trust_env=False, timeout=_READ_TIMEOUT, follow_redirects=method == "GET", max_redirects=5) as client,
            client.stream(method, url, headers=request_headers, json=body) as response,
        ):
            if not response.is_success:
                raise ImportFault(f"{shown(url)} answered with the status {response.status_code}{_hint(response.status_code)}")
            return _read_body(response, give_up_at)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise ImportFault(f"{shown(url)} is not reachable: {reason}; is the address right, and is the service up?") from None


def _hint(status: int) -> str:
    if status in {401, 403}:
        return "; give credentials with --header"
    return "; is the path of the URL right?" if status in {404, 405} else ""


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
