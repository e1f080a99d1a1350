"""The page in a real browser: it moves while one looks, tells what to mend, and works for everybody."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.doubles.sender import Sender
from tests.doubles.source import FaultySource, threaded
from tests.doubles.sub_path import SubPath
from tests.e2e.browser import (
    PATIENCE_MS,
    SIZES,
    Scheme,
    check_for_everybody,
    opened_browser,
    opened_page,
    pictures,
)
from tests.e2e.deployment import Deployment

TOKEN = "the-token-of-the-admin-page"
MIB = 1024 * 1024
SIZE = 600 * MIB
"""More than moves while the tests run."""

expect.set_options(timeout=PATIENCE_MS)


class Scenery:
    """A service with a recording that moves slowly, one that fails, and some that are archived."""

    def __init__(self, folder: Path, sender: Sender, source: FaultySource) -> None:
        self.source = source
        self.service = Deployment(folder, sender, admin_token=TOKEN, part_size_mib=8, parts_in_flight=1)
        self.sender = sender
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.service.admin_port}/"

    def hear(self, recording_id: str, title: str, link: str, size: int) -> None:
        """The provider announces a file."""
        event = json.loads(self.sender.uploaded(recording_id, link, size=size))
        event["meeting"] = {**event.get("meeting", {}), "title": title}
        self.service.hand_over(json.dumps(event).encode())

    def add(self) -> None:
        """All of it, as the provider tells it."""
        for number, title in enumerate(("Design review", "Hiring committee")):
            link = self.source.add(f"done-{number}.mp4", 3 * MIB)
            self.hear(f"done-{number}", title, link, 3 * MIB)
        self.service.wait_until(lambda: len(self.service.archived) == 2)
        refused = self.source.add("refused.mp4", MIB, status=403)
        self.hear("refused", "Board meeting", refused, MIB)
        slow = self.source.add("slow.mp4", SIZE, rate=4 * MIB)
        self.hear("slow", "Weekly sync", slow, SIZE)
        self.service.wait_until(lambda: bool(self.service.lines("try_failed")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests; each has pages of its own."""
    with opened_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def scenery(browser: Browser, tmp_path_factory: pytest.TempPathFactory, sender: Sender) -> Iterator[Scenery]:
    """It stands as long as the tests of this file; what moves goes on for a few minutes."""
    with ExitStack() as stack:
        source = stack.enter_context(threaded(FaultySource()))
        scenery = Scenery(tmp_path_factory.mktemp("page"), sender, source)
        stack.enter_context(scenery.service.running())
        scenery.add()
        yield scenery


def log_in(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Admin token").fill(token)
    page.get_by_role("button", name="Log in").click()


def moved(page: Page) -> float:
    bar = page.get_by_role("progressbar", name="Weekly sync, video")
    return float(bar.get_attribute("value") or 0)


def until_it_moved(page: Page, beyond: float) -> float:
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while (now := moved(page)) <= beyond:
        assert time.monotonic() < deadline, "it does not move"
        page.wait_for_timeout(100)
    return now


def test_a_recording_moves_while_one_looks_and_nothing_jumps(browser: Browser, scenery: Scenery) -> None:
    with opened_page(browser, scenery.url) as page:
        page.goto("")
        log_in(page)
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        expect(page.locator("#live")).to_have_text("Live")
        card = page.locator("#moving li").first
        first = until_it_moved(page, 0)
        # From here on nothing may move on the page but what shall.
        page.evaluate(
            "window.jumps = 0; new PerformanceObserver(list => list.getEntries().forEach(each =>"
            " { window.jumps += each.value })).observe({type: 'layout-shift'})"
        )
        shown = card.get_by_role("link", name="Weekly sync")
        shown.focus()
        second = until_it_moved(page, first)
        until_it_moved(page, second)
        expect(card.locator(".rate")).to_have_text(re.compile(r"^[1-9][\d.]*\sMB/s$|^0\.[1-9]\sMB/s$"))
        expect(shown).to_be_focused()
        assert page.evaluate("window.jumps") < 0.02
        scenery.source["slow.mp4"].faults = {"rate": MIB}
        shown.press("Enter")
        expect(page.get_by_role("heading", name="Weekly sync")).to_be_visible()


def test_what_fails_shows_what_to_mend_and_a_click_has_it_tried_again(
    browser: Browser, scenery: Scenery
) -> None:
    with opened_page(browser, scenery.url) as page:
        page.goto("")
        log_in(page)
        card = page.locator("#trouble li.card", has_text="Board meeting")
        expect(card).to_contain_text("The source refuses the link")
        expect(card).to_contain_text("To mend")
        card.get_by_role("link", name="Board meeting").click()
        scenery.source["refused.mp4"].faults = {}
        page.get_by_role("button", name="Retry now the whole recording").click()
        expect(page.get_by_text("Ordered: Retry now.")).to_be_visible()
        # Without loading it again.
        expect(page.locator("#head .badge")).to_have_text("✓ Archived")
        expect(page.locator("#story")).to_contain_text("for every file, by page 127.0.0.1")
        assert (scenery.folder / "archive" / "refused.mp4").stat().st_size == MIB


def test_the_door_opens_to_the_token_alone(browser: Browser, scenery: Scenery) -> None:
    with opened_page(browser, scenery.url) as page:
        page.goto("recordings?text=done")
        log_in(page, "not the token at all")
        expect(page.get_by_role("alert")).to_contain_text("That is not the token.")
        log_in(page)
        expect(page).to_have_url(f"{scenery.url}recordings?text=done")
        assert TOKEN not in str(page.context.cookies())
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        page.goto("recordings")
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()
        log_in(page)
        # A form that another page made up, sent with the browser's own cookie.
        page.evaluate("document.querySelector('[name=form_token]').value = 'made up'")
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_role("heading", name="The form was refused")).to_be_visible()
    assert TOKEN not in scenery.service.log.read_text()


def test_without_scripts_and_below_a_proxy_s_path_all_can_be_done(browser: Browser, scenery: Scenery) -> None:
    with (
        threaded(SubPath("/archiver/", scenery.url.rstrip("/"))) as proxy,
        opened_page(browser, proxy.url, scripts=False) as page,
    ):
        page.goto("")
        log_in(page)
        page.get_by_role("link", name="Recordings", exact=True).click()
        page.get_by_label("Title, file name or id").fill("weekly")
        page.get_by_role("button", name="Search").click()
        page.get_by_role("link", name="Weekly sync").click()
        page.get_by_role("link", name="Pause the video").click()
        expect(page.get_by_role("heading", name="Pause?")).to_be_visible()
        page.get_by_role("button", name="Pause this file").click()
        expect(page.get_by_text("Ordered: Pause.")).to_be_visible()
        expect(page.locator("#head .badge")).to_have_text("‖ Paused")
        page.get_by_role("button", name="Resume the video").click()
        expect(page.get_by_text("Ordered: Resume.")).to_be_visible()
        assert page.url.startswith(f"{proxy.url}recordings/slow?")


def test_below_a_proxy_s_path_it_is_live_too(browser: Browser, scenery: Scenery) -> None:
    with (
        threaded(SubPath("/archiver/", scenery.url.rstrip("/"))) as proxy,
        opened_page(browser, proxy.url) as page,
    ):
        page.goto("recordings/slow")
        log_in(page)
        expect(page.locator("#live")).to_have_text("Live")
        scenery.hear("slow", "Weekly sync, renamed", f"{scenery.source.base_url}/slow.mp4", SIZE)
        expect(page.locator("#story")).to_contain_text("known")


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_everybody_can_use_every_page(
    browser: Browser, scenery: Scenery, scheme: Scheme, tmp_path: Path
) -> None:
    folder = pictures(tmp_path)
    for size in SIZES if scheme == "light" else ("desktop", "phone"):
        with opened_page(browser, scenery.url, size=size, scheme=scheme) as page:
            page.goto("")
            check_for_everybody(page)
            page.screenshot(path=folder / f"login-{size}-{scheme}.png")
            log_in(page)
            for name, path in {
                "overview": "",
                "recordings": "recordings",
                "moving": "recordings/slow",
                "archived": "recordings/done-0",
                "confirm": "recordings/slow?confirm=cancel",
                "nothing": "recordings/nobody",
                "fault": "recordings?since=yesterday",
            }.items():
                page.goto(path)
                if name in ("overview", "recordings", "moving", "archived"):
                    expect(page.locator("#live")).to_have_text("Live")
                check_for_everybody(page)
                page.screenshot(path=folder / f"{name}-{size}-{scheme}.png", full_page=True)


def test_the_keyboard_alone_is_enough(browser: Browser, scenery: Scenery) -> None:
    with opened_page(browser, scenery.url) as page:
        page.goto("")
        expect(page.get_by_label("Admin token")).to_be_focused()
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.locator(".tiles a").first).to_be_focused()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"


def test_an_open_page_does_not_hold_the_service_up_and_is_live_again_after_it(
    browser: Browser, scenery: Scenery
) -> None:
    with opened_page(browser, scenery.url) as page:
        page.goto("")
        log_in(page)
        expect(page.locator("#live")).to_have_text("Live")
        assert scenery.service.stop() == 0
        expect(page.locator("#live")).to_have_text("Not live, reconnecting")
        assert [line for line in scenery.service.lines() if line["level"] == "error"] == []
        scenery.service.start()
        expect(page.locator("#live")).to_have_text("Live")
