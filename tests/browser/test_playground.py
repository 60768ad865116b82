"""What a person does in the playground: write, complete, run, see where the time went, change a file, share."""

import re
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.conftest import QUERY
from tests.kit.serving import Process, serve_command


def run(page: Page) -> None:
    page.get_by_role("button", name="Execute query").click()
    expect(page.get_by_role("region", name="Timeline")).to_be_visible()


def node(page: Page, name: str) -> Locator:
    return page.locator(".node", has=page.get_by_text(name, exact=True))


def editor(page: Page) -> Locator:
    return page.locator(".graphiql-query-editor .view-lines")


def write(page: Page, text: str) -> None:
    """Replace the query; the editor closes the first brace by itself."""
    editor(page).click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def test_the_plan_is_there_before_the_query_runs_with_the_steps_that_are_left_out_in_grey(page: Page) -> None:
    expect(page.locator(".node[data-node]")).to_have_count(4)
    expect(node(page, "exposure")).to_have_attribute("aria-label", re.compile(r"python.*optional, ≤ 5000 ms"))
    expect(page.locator(".node.is-left-out")).to_have_attribute("aria-label", re.compile("unasked.*not asked for"))


def test_the_plan_follows_what_is_written(page: Page) -> None:
    write(page, "{ customer(id: 1) { account { id } } ")
    expect(page.locator(".node[data-node]")).to_have_count(1)
    write(page, "{ customer(id: 1) { acount } ")
    expect(page.get_by_text("Did you mean 'account'")).to_be_visible()


def test_the_editor_completes_fields_of_the_schema(page: Page) -> None:
    write(page, "{ customer(id: 1) { ")
    page.keyboard.type("exp")
    expect(page.locator(".suggest-widget .monaco-list-row", has_text="exposure")).to_be_visible()


def test_a_run_says_in_words_which_step_was_slowest_and_marks_the_critical_path(page: Page) -> None:
    run(page)
    words = page.locator(".words")
    expect(words).to_contain_text(re.compile(r"Slowest on the critical path: exposure, \d+ ms of \d+ ms\."))
    expect(words).to_contain_text("account → exposure")
    expect(page.locator(".row.is-critical .timeline-label")).to_have_text([re.compile("account"), re.compile("exposure")])
    expect(page.locator(".graphiql-response")).to_contain_text("Ada")


def test_failed_and_skipped_steps_differ_in_shape_and_an_error_leads_to_its_step(page: Page) -> None:
    run(page)
    shapes = {name: node(page, name).locator(".node-shape").get_attribute("d") for name in ("account", "scores", "never")}
    assert len(set(shapes.values())) == 3
    page.get_by_role("list", name="Errors").get_by_role("button").click()
    expect(node(page, "scores")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("region", name="Step scores")).to_contain_text("INTERNAL_SERVER_ERROR")


def test_the_keyboard_alone_opens_a_step_and_its_slack_shows_on_focus(page: Page) -> None:
    run(page)
    node(page, "never").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Step never")).to_contain_text("its condition was false")
    row = page.get_by_role("button", name=re.compile("^scores: failed"))
    page.get_by_role("button", name=re.compile("^account: success")).focus()
    while not row.evaluate("row => row === document.activeElement"):
        page.keyboard.press(
            "Shift+Tab" if row.evaluate("row => row.compareDocumentPosition(document.activeElement) & 4") else "Tab"
        )
    expect(row.locator(".bar-more")).to_be_visible()
    expect(row.locator(".bar-more")).to_contain_text("slack")


def test_a_changed_file_brings_its_new_field_and_the_query_stays(page: Page, config: Path) -> None:
    file = config / "customer.yaml"
    file.write_text(file.read_text("utf-8") + "  - { name: arrived, type: value, value: 9, returns: Int }\n", "utf-8")
    page.get_by_role("tab", name="Examples").click()
    expect(node(page, "exposure")).to_have_count(0)
    page.get_by_role("tab", name="Plan").click()
    expect(page.locator(".node.is-left-out")).to_have_count(2)
    expect(editor(page)).to_contain_text("secret-7")
    write(page, "{ customer(id: 1) { ")
    page.keyboard.type("arr")
    expect(page.locator(".suggest-widget .monaco-list-row", has_text="arrived")).to_be_visible()


def test_a_broken_file_is_told_with_its_place_while_the_last_good_one_answers(page: Page, config: Path) -> None:
    file = config / "customer.yaml"
    sound = file.read_text("utf-8")
    file.write_text(sound.replace("{account.id}", "{acount.id}"), "utf-8")
    alert = page.get_by_role("alert", name="Problems of the configuration")
    expect(alert).to_contain_text(re.compile(r"customer\.yaml:6:\d+"))
    expect(alert).to_contain_text("did you mean 'account'?")
    run(page)
    file.write_text(sound, "utf-8")
    expect(alert).to_have_count(0)


def test_runs_are_listed_whoever_sent_them_without_what_they_were_given_and_run_again(page: Page, gateway: Process) -> None:
    headers = {"authorization": "Bearer hidden"}
    httpx.post(f"{gateway.url}/graphql", json={"query": QUERY}, headers=headers, trust_env=False)
    count = len(httpx.get(f"{gateway.url}/playground/runs", trust_env=False).json())
    page.get_by_role("tab", name="Runs").click()
    page.get_by_role("button", name=re.compile("^Open the run of customer")).first.click()
    expect(page.get_by_role("region", name="Timeline")).to_be_visible()
    page.get_by_role("tab", name="Runs").click()
    page.get_by_role("button", name="Run customer again").first.click()
    expect(page.locator(".graphiql-response")).to_contain_text("Ada")
    page.get_by_role("tab", name="Runs").click()
    expect(page.locator(".runs tbody tr")).to_have_count(count + 1)
    listed = httpx.get(f"{gateway.url}/playground/runs", trust_env=False).json()
    told = [httpx.get(f"{gateway.url}/playground/runs/{each['id']}", trust_env=False).text for each in listed]
    assert not [text for text in told if "secret-7" in text or "hidden" in text]


def test_an_example_of_each_operation_is_ready_to_run(page: Page) -> None:
    page.get_by_role("tab", name="Examples").click()
    page.locator(".examples button", has_text="A customer, from several places.").click()
    expect(page.locator(".graphiql-editor-tool .view-lines").first).to_contain_text('"id": "1"')
    run(page)


def test_a_first_visit_begins_with_an_example_that_runs(context: BrowserContext, gateway: Process) -> None:
    page = context.new_page()
    page.goto(gateway.url)
    expect(page.locator(".words")).to_contain_text("Will run 5 steps")
    run(page)
    expect(page.locator(".words")).to_contain_text("partial")


def test_a_link_carries_the_query_and_never_the_headers(page: Page, context: BrowserContext) -> None:
    page.get_by_role("button", name="Headers").click()
    page.locator(".graphiql-editor-tool .view-lines").last.click()
    page.keyboard.insert_text('{ "authorization": "Bearer hidden" }')
    page.get_by_role("button", name="Share").click()
    expect(page.locator(".note")).to_contain_text("without headers")
    assert "secret-7" in page.url
    assert "hidden" not in page.url
    other = context.new_page()
    other.goto(page.url)
    expect(editor(other)).to_contain_text("secret-7")


def test_dark_and_light_follow_the_system_until_they_are_chosen(page: Page) -> None:
    panel = page.get_by_role("complementary")
    color = "panel => getComputedStyle(panel).backgroundColor"
    light = panel.evaluate(color)
    page.emulate_media(color_scheme="dark")
    dark = panel.evaluate(color)
    assert light != dark
    page.get_by_label("Theme").select_option("light")
    assert panel.evaluate(color) == light


@pytest.mark.parametrize("width", [1280, 390])
def test_every_control_has_a_name_and_nothing_is_wider_than_the_screen(page: Page, width: int) -> None:
    run(page)
    page.set_viewport_size({"width": width, "height": 844})
    views = ("Query", "Answer", "Plan", "Runs", "Examples") if width < 1000 else ()
    for view in views or ("Plan",):
        if views:
            page.get_by_role("navigation", name="Views").get_by_role("button", name=view, exact=True).click()
        nameless = page.locator("button, select, [role=button], [role=separator], input").evaluate_all(
            "all => all.filter(each => each.checkVisibility() && !(each.ariaLabel || each.textContent.trim() || each.title"
            " || each.labels?.length)).map(each => each.outerHTML)"
        )
        assert nameless == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    if views:
        page.get_by_role("navigation", name="Views").get_by_role("button", name="Plan", exact=True).click()
        expect(page.get_by_role("region", name="Timeline")).to_be_visible()


def test_a_gateway_that_stops_does_not_wait_for_its_listeners(tmp_path: Path, config: Path, browser: Browser) -> None:
    with serve_command(tmp_path, config, "--dev") as gateway, browser.new_page() as page:
        page.goto(gateway.url)
        expect(page.locator(".version code")).not_to_have_text("…")
        assert gateway.stop()[0] == 0
        assert "graceful shutdown exceeded" not in gateway.stderr
        expect(page.get_by_text("The gateway is away; trying again")).to_be_visible()
