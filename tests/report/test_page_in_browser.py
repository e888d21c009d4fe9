"""The page in a real browser: quiet, alone, fits a phone, reads in the dark, prints.

Needs playwright and a Chromium that the system brings (`apt-get install chromium`, or BIRDNN_CHROMIUM); skipped, with
that said, where one of them is absent.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from birdnn.report.pages import html_page
from tests.report.pages import made_report, outcome

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser test without playwright")
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_PATIENCE_MS = 120_000


def chromium() -> str | None:
    """The browser's path; None where there is none."""
    said = os.environ.get("BIRDNN_CHROMIUM")
    return said or next((path for name in _NAMES if (path := shutil.which(name))), None)


pytestmark = pytest.mark.skipif(chromium() is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Without a window."""
    with sync_api.sync_playwright() as playwright:
        words = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        shown = playwright.chromium.launch(executable_path=chromium(), args=words, timeout=_PATIENCE_MS)
        yield shown
        shown.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with long names."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    long = "/a/folder/with/a/name/that/does/not/end/" + "x" * 120 + "/net.onnx"
    request = replace(outcome().request, command=("birdnn", "repair", "--net", long))
    path.write_text(html_page(made_report({"network_before": "differs"}, net=long, request=request)), encoding="utf-8")
    return path


def opened(browser: Any, page_file: Path, width: int, scheme: str) -> tuple[Any, list[str]]:
    """The page, and whatever it complained about or asked for."""
    page = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme).new_page()
    page.set_default_timeout(_PATIENCE_MS)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: heard.append(f"error: {error}"))
    page.on("request", lambda request: heard.append(f"request: {request.url}"))
    page.goto(page_file.as_uri())
    return page, [line for line in heard if line != f"request: {page_file.as_uri()}" and "data:," not in line]


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_quiet_alone_and_fits(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    page, heard = opened(browser, page_file, width, scheme)
    assert heard == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}[scheme]
    page.context.close()


def test_tables_fit_a_phone(browser: Any, page_file: Path) -> None:
    """Before and after stand beside each other, or below: nobody looks for a verdict behind the edge of a screen."""
    page, _ = opened(browser, page_file, 390, "light")
    wider = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{wider}.map(e => e.getAttribute('aria-labelledby'))") == []
    # whose rows are lines of names and values then: the names are those of the columns
    label = "getComputedStyle(document.querySelector('[aria-labelledby=t-verdicts] td'), '::before').content"
    assert page.evaluate(label).startswith('"Before')
    page.context.close()


def test_the_keyboard_reaches_the_content_first(browser: Any, page_file: Path) -> None:
    page, _ = opened(browser, page_file, 390, "light")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#content"
    page.context.close()


def test_it_prints(browser: Any, page_file: Path) -> None:
    page, _ = opened(browser, page_file, 1280, "dark")
    data = page.pdf(prefer_css_page_size=True, print_background=True)
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", data)) <= 7
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.context.close()
