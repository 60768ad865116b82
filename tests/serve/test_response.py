"""The result of a request → its response: head, errors, and how few modules are needed to write one."""

import json
import subprocess
import sys

import pytest

from gateway.errors import Code, RequestError
from gateway.serve.http.media_types import negotiate_or_json
from gateway.serve.http.response import NOT_ADMITTED, error_answer, http_response
from tests.kit.paths import CHECKOUT
from tests.kit.serving import JSON, RESPONSE_JSON

WRITING = {
    "gateway",
    "gateway.errors",
    "gateway.json_text",
    "gateway.record",
    "gateway.serve",
    "gateway.serve.http",
    "gateway.serve.http.media_types",
    "gateway.serve.http.response",
}
"""The modules that are loaded to write a response."""
CONTRACT = ("gateway.contract", "gateway.blueprint", "gateway.settings", "gateway.language")
"""The modules of the contract between the folders, and those that it imports."""
READING = WRITING | {"gateway.serve.http.batch", "gateway.serve.http.headers", "gateway.serve.http.request"}
"""The modules that are loaded to read a request, in addition to the contract."""


def loaded_by(module: str) -> set[str]:
    """Return the modules of the gateway that importing one of them loads, in a new process."""
    code = f"import sys, {module}; print(*(name for name in sys.modules if name.partition('.')[0] == 'gateway'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_to_write_a_response_needs_the_errors_and_json_text_alone() -> None:
    assert loaded_by("gateway.serve.http.response") == WRITING


@pytest.mark.parametrize("module", ["request", "batch"])
def test_to_read_a_request_needs_the_contract_beside_that(module: str) -> None:
    loaded = loaded_by(f"gateway.serve.http.{module}")
    beside = {name for name in loaded if name.startswith(CONTRACT)}
    assert loaded - beside <= READING
    assert "gateway.contract.request" in beside


def test_the_head_has_media_type_version_length_and_id() -> None:
    response = http_response((200, b"{}", b""), JSON, b"abc", "one")
    assert response.headers == [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"x-config-version", b"abc"),
        (b"content-length", b"2"),
        (b"x-request-id", b"one"),
    ]


def test_no_version_is_told_where_no_configuration_was_looked_at() -> None:
    assert b"x-config-version" not in dict(http_response((200, b"{}", b""), JSON, b"", "one").headers)


@pytest.mark.parametrize(
    ("code", "media_type", "expected"),
    [
        (Code.GRAPHQL_PARSE_FAILED, JSON, 200),
        (Code.GRAPHQL_PARSE_FAILED, RESPONSE_JSON, 400),
        (Code.PAYLOAD_TOO_LARGE, JSON, 400),
    ],
)
def test_mistakes_of_a_document_are_200_for_clients_of_old(code: Code, media_type: str, expected: int) -> None:
    answer = error_answer(RequestError(code, 400, {"message": "No."}), media_type)
    status, body, lines = answer
    assert (status, lines) == (expected, b"")
    assert json.loads(body) == {"errors": [{"message": "No.", "extensions": {"code": code}}]}


def test_a_refusal_says_what_is_allowed_and_when_to_come_again() -> None:
    for code, status, retry_after, lines in (
        (Code.METHOD_NOT_ALLOWED, 405, None, b"allow: GET, POST\r\n"),
        (Code.REQUEST_RATE_LIMITED, 429, 7, b"retry-after: 7\r\n"),
    ):
        answer = error_answer(RequestError(code, status, {"message": "No."}, retry_after=retry_after), JSON)
        assert (answer[0], answer[2]) == (status, lines)
    assert (NOT_ADMITTED[0], NOT_ADMITTED[2]) == (503, b"retry-after: 1\r\n")


@pytest.mark.parametrize(
    ("accept", "chosen"), [(None, JSON), (RESPONSE_JSON, RESPONSE_JSON), ("image/png", JSON), ("*/*;q=0", JSON), ("", JSON)]
)
def test_whoever_is_not_let_in_is_answered_whatever_it_accepts(accept: str | None, chosen: str) -> None:
    assert negotiate_or_json(accept) == chosen
