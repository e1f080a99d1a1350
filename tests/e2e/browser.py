"""A real browser: Debian's Chromium, driven by Playwright, with axe to look for what keeps people out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.doubles.programs import find_program

SIZES: Final = {"desktop": (1280, 900), "phone": (390, 844), "small": (320, 640)}
"""In pixels of a style sheet."""
PATIENCE_MS: Final = 30_000

Scheme = Literal["light", "dark"]


@contextmanager
def opened_browser() -> Iterator[Browser]:
    """The browser; the test is skipped where there is none."""
    chromium = find_program("chromium")
    if chromium is None:
        pytest.skip("there is no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        # As root it has no sandbox, and a container has little shared memory.
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened_page(
    browser: Browser, url: str, *, size: str = "desktop", scheme: Scheme = "light", scripts: bool = True
) -> Iterator[Page]:
    """A page of a browser that nobody has used; at its end, nothing may have gone wrong in it."""
    width, height = SIZES[size]
    context = browser.new_context(
        base_url=url,
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MS)
    page, faults = context.new_page(), []
    page.on("pageerror", lambda error: faults.append(str(error)))
    # Among them what the content security policy refused; answers other than 2xx are said there too.
    page.on(
        "console",
        lambda line: (
            faults.append(line.text)
            if line.type == "error" and "Failed to load resource" not in line.text
            else None
        ),
    )
    try:
        yield page
    finally:
        context.close()
    assert faults == []


def pictures(tmp_path: Path) -> Path:
    """The folder that keeps pictures: ``CI_ARTIFACTS``, or else one that goes with the test."""
    folder = Path(os.environ.get("CI_ARTIFACTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def check_for_everybody(page: Page) -> None:
    """Nothing that axe calls serious or critical, and nothing to be scrolled sideways."""
    found = Axe().run(page).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in grave]
    assert told == [], page.url
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth - {root}.clientWidth") <= 0, f"{page.url} is too wide"
