"""A browser that may reach nothing but the gateway of the test, and pages in it."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, sync_playwright

from tests.kit.paths import CHECKOUT
from tests.kit.serving import Process, serve_command, write_files

CONFIG = {
    "types.graphql": "type Account { id: ID name: String }",
    "customer.yaml": """\
operation: customer
description: A customer, from several places.
args: { id: ID! }
steps:
  - { name: account, type: python, call: "tests.browser.steps:wait", inputs: { ms: 60 }, returns: Account }
  - { name: exposure, type: python, call: "tests.browser.steps:wait", inputs: { ms: 240, after: "{account.id}" }, returns: Account }
  - { name: scores, type: python, call: "tests.browser.steps:fail", inputs: {}, returns: Account }
  - { name: never, type: value, value: 1, returns: Int, when: "account.name == 'Bob'" }
  - { name: unasked, type: value, value: 1, returns: Int }
""",
}
QUERY = '{ customer(id: "secret-7") { account { name } exposure { id } scores { id } never } }'
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def unavailable(reason: str) -> None:
    """Skip on a machine that cannot run a browser, but never where the project is checked for good."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        unavailable("the browser tests need chromium; apt-get install chromium")
    if not (CHECKOUT / "playground" / "web" / "dist" / "index.html").exists():
        unavailable("the browser tests need the built playground; make web")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Path]]:
    """Serve one configuration to all tests: to start takes longer than most of them."""
    folder = tmp_path_factory.mktemp("playground")
    config = write_files(folder / "config", CONFIG)
    with serve_command(folder, config, "--dev") as process:
        yield process, config


@pytest.fixture
def gateway(shared: tuple[Process, Path]) -> Process:
    return shared[0]


@pytest.fixture
def config(shared: tuple[Process, Path]) -> Iterator[Path]:
    """Give the folder to a test that changes it; afterwards it is as before."""
    yield shared[1]
    write_files(shared[1], CONFIG)


@pytest.fixture
def context(browser: Browser, gateway: Process) -> Iterator[BrowserContext]:
    """Open a fresh profile; whatever asks anybody but the gateway is aborted, and fails the test."""
    foreign: list[str] = []

    def abort(route: Route) -> None:
        foreign.append(route.request.url)
        route.abort()

    opened = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    opened.set_default_timeout(15_000)
    opened.route(lambda url: not url.startswith((gateway.url, "data:", "blob:")), abort)
    yield opened
    opened.close()
    assert foreign == []


@pytest.fixture
def page(context: BrowserContext, gateway: Process) -> Iterator[Page]:
    """Open the playground with the query in its address; an error on the console fails the test."""
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    opened.goto(f"{gateway.url}/#query={QUERY}")
    opened.locator(".node").first.wait_for()
    yield opened
    assert errors == []
