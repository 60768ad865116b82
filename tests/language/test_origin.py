"""Origins: exactly those that a browser could send, and for others what to write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.language.origin import origin_mistake

ORIGINS = [
    "https://a.com",
    "http://a.com",
    "https://a.com:8443",
    "http://a.com:443",
    "https://a.com:80",
    "http://localhost",
    "http://localhost:3000",
    "http://app.localhost:3000",
    "http://127.0.0.1:5173",
    "http://[::1]:5173",
    "https://[2001:db8::1]",
    "https://[::ffff:7f00:1]",
    "https://xn--bcher-kva.example",
    "https://a_b.example",
    "https://a.com.",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
    "moz-extension://0b8e7ac8-9b6c-4bb0-9d28-5b3f8a5d8d1f",
    "capacitor://localhost",
]

WRITTEN = {
    "HTTPS://A.com": "https://a.com",
    "https://A.com": "https://a.com",
    "https://a.com/": "https://a.com",
    "https://a.com/app": "https://a.com",
    "https://a.com?x=1": "https://a.com",
    "https://a.com#x": "https://a.com",
    "https://a.com:443": "https://a.com",
    "http://a.com:80": "http://a.com",
    "https://a.com:": "https://a.com",
    "https://a.com:0443": "https://a.com",
    "https://a.com:08443": "https://a.com:8443",
    " https://a.com": "https://a.com",
    "https://a.com\n": "https://a.com",
    "https://a.com\t:8443": "https://a.com:8443",
    "https://joe@a.com": "https://a.com",
    "https://joe:secret@a.com:8443": "https://a.com:8443",
    "https://b\u00fccher.example": "https://xn--bcher-kva.example",
    "https://B\u00dcCHER.example": "https://xn--bcher-kva.example",
    "https://a\u3002com": "https://a.com",
    "a.com": "https://a.com",
    "A.com:8443": "https://a.com:8443",
    "localhost:3000": "http://localhost:3000",
    "127.0.0.1:3000": "http://127.0.0.1:3000",
    "http://127.1:3000": "http://127.0.0.1:3000",
    "http://0x7f000001": "http://127.0.0.1",
    "http://127.0.0.1.": "http://127.0.0.1",
    "http://[0:0::1]:80": "http://[::1]",
    "https://[2001:DB8::1]": "https://[2001:db8::1]",
    "https://[::ffff:127.0.0.1]": "https://[::ffff:7f00:1]",
}

UNCLEAR = [
    "null",
    "NULL",
    "https://.*example.com",
    "https://*.example.com",
    "https://*",
    "*.example.com",
    "https://a.com:*",
    "**",
    "* ",
    "{request.headers.origin}",
    "https://{context.tenant}.example.com",
    "https://",
    "https:///a.com",
    "https:/a.com",
    "https:\\\\a.com",
    "//a.com",
    "://a.com",
    "https",
    "a",
    ".",
    "https://.",
    "https://a..com",
    "https://.a.com",
    "https://a.com,https://b.com",
    "https://a.com https://b.com",
    "https://a.com|b.com",
    r"^https://a\.com$",
    r"https://a\.com",
    "https://(a|b).com",
    "https://a%2ecom",
    "https://-.com",
    "https://a.com:0",
    "https://a.com:65536",
    "https://a.com:x",
    "https://a.com:-1",
    "https://256.1.1.1",
    "https://[::1",
    "https://[fe80::1%25eth0]",
    "https://[::g]",
    "https://stra\u00dfe.de",
    "https://" + "a" * 64 + ".com",
    "https://" + "a." * 127 + "com",
    "file:///index.html",
    "file://host",
    "ftp://a.com",
    "wss://a.com",
    "data:text/html,x",
    "javascript:alert(1)",
    "about:blank",
    "1http://a.com",
]


@pytest.mark.parametrize("text", ORIGINS)
def test_what_a_browser_sends_is_an_origin(text: str) -> None:
    assert origin_mistake(text) is None


@pytest.mark.parametrize("text", WRITTEN)
def test_the_form_of_browsers_is_told_where_it_is_clear_what_is_meant(text: str) -> None:
    assert origin_mistake(text) == f"not an origin as browsers write it; write {WRITTEN[text]}"
    assert origin_mistake(WRITTEN[text]) is None


@pytest.mark.parametrize("text", UNCLEAR)
def test_anything_else_is_a_mistake_and_is_not_guessed_at(text: str) -> None:
    mistake = origin_mistake(text)
    assert mistake is not None
    assert "; write https://" not in mistake


@given(st.text(st.sampled_from("htps:/.[]@*{}%?#\\aA1-_ \n\u00fc\u00df"), max_size=24).map(lambda rest: f"https://a{rest}"))
def test_what_is_advised_is_an_origin(text: str) -> None:
    mistake = origin_mistake(text)
    advised = text if mistake is None else mistake.rpartition("write ")[2]
    if advised.startswith("https://"):
        assert origin_mistake(advised) is None
