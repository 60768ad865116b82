"""Both pages of the playground, the built one and the plain one, load nothing but files of the gateway (case L-15)."""

import asyncio
import mimetypes
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from gateway.develop.playground import endpoints
from tests.kit.paths import CHECKOUT
from tests.kit.serving import serving, write_files

mimetypes.init()  # reads files, which the event loop must not wait for
WEB = CHECKOUT / "playground" / "web"
GRAPH = "operation: o\nsteps: [{ name: a, type: value, value: 1 }]\n"
BUILT = '<!doctype html><script type="module" src="/playground/assets/index.js"></script>'


class Elements(HTMLParser):
    """What of a page a policy without inline scripts would block, and the scripts that it names."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.inline: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.inline += [name for name, value in attrs if name.startswith("on") or (value or "").startswith("javascript:")]
        if tag == "script":
            source = attributes.get("src")
            self.inline += ["script"] * (source is None)
            self.scripts += [source] if source else []


@pytest.mark.case("L-15")
@pytest.mark.parametrize("is_built", [False, True], ids=["plain", "built"])
def test_both_pages_have_one_policy_and_run_no_script_of_others(
    tmp_path: Path, is_built: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = write_files(
        tmp_path / "playground" / "web", {name: (WEB / name).read_text("utf-8") for name in ("plain.html", "plain.js")}
    )
    if is_built:
        write_files(web / "dist", {"index.html": BUILT, "assets/index.js": "1"})
    monkeypatch.setattr(endpoints, "files", lambda _: web.parent)

    async def scenario() -> None:
        async with serving(write_files(tmp_path / "config", {"graph.yaml": GRAPH}), is_development=True) as gateway:

            async def get(path: str) -> httpx.Response:
                return (await gateway.client.get(gateway.url + path)).raise_for_status()

            page = await get("/")
            policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'self'"
            assert not {"script-src", "connect-src"} & set(policy)  # so both are 'self', and nothing inline runs
            for directive in ("object-src", "base-uri", "form-action", "frame-ancestors"):
                assert policy[directive] == "'none'"
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["referrer-policy"] == "no-referrer"
            elements = Elements(page.text)
            assert elements.inline == []
            assert elements.scripts
            for source in elements.scripts:
                script = await get(source)
                assert re.match(r"(text|application)/javascript", script.headers["content-type"])
                assert script.text

    asyncio.run(scenario())
