"""What a visitor's hands do in a browser: press keys, look for something, wait for it; and a browser that is new to a site."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Browser]:
    """A browser that has not been here, with a script, in the light, on a wide window."""
    emulate(browser, dark=False, script=True)
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    yield browser
    emulate(browser, dark=False, script=True)
    browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def emulate(browser: Browser, dark: bool, script: bool = True) -> None:
    asked = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", asked)
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})


def press(page: Browser, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(page.driver).send_keys(*keys).perform()


def until(page: Browser, part: str, seconds: float = 10) -> None:
    """Until the page holds a piece of HTML: for pages on which no script runs, which a form leads to after some time."""
    end = time.monotonic() + seconds
    while part not in page.driver.page_source:
        assert time.monotonic() < end, f"never on the page within {seconds} s: {part}"
        time.sleep(0.05)


def find(page: Browser, selector: str) -> Any:
    return page.driver.find_element("css selector", selector)


def inaccessible(page: Browser) -> list[tuple[str, list[str]]]:
    """What axe finds serious or critical, with the first pieces of HTML it stands in. Skips where axe is not installed."""
    axe = pytest.importorskip("axe_selenium_python")
    check = axe.Axe(page.driver)
    page.run(Path(axe.axe._DEFAULT_SCRIPT).read_text(encoding="utf-8"))  # the policy forbids a script element
    found = [v for v in check.run()["violations"] if v["impact"] in ("serious", "critical")]
    return [(v["id"], [n["html"][:160] for n in v["nodes"][:3]]) for v in found]
