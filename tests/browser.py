"""Pages in a real browser: headless Chromium, what it drew, what it complained of, and what it asked the network for.

from tests.browser import browser as browser      # in a conftest: the fixture

def test_a_page(browser: Browser, tmp_path: Path) -> None:
    page = browser.open(tmp_path / "page.html")
    assert page.complaints() == [] and page.asked_outside() == []
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
INSIDE = ("file:", "data:", "blob:", "about:", "chrome:")


class Browser:
    """A running Chromium with one page at a time."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, place: Path | str, width: int = 1280, height: int = 900) -> Browser:
        """Load a file or an address, and forget what earlier pages logged. Returns itself, so that it reads as the page."""
        for log in ("browser", "performance"):
            self.driver.get_log(log)
        self.driver.set_window_size(width, height)
        self.driver.get(place.resolve().as_uri() if isinstance(place, Path) else place)
        return self

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a script's ``return``."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, seconds: float = 15) -> None:
        """Until the script returns something true. Fails with the script where it never does."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, f"never true within {seconds} s: {script}"
            time.sleep(0.05)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the page was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]

    def asked_outside(self) -> list[str]:
        """Every address the page asked the network for, beside itself and what it carries."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(INSIDE)]

    def screenshot(self, path: Path, height: int = 0) -> Path:
        """The window as PNG; ``height`` makes it that high first, 0 as high as the page."""
        whole = height or int(self.run("return document.documentElement.scrollHeight"))
        self.driver.set_window_size(self.driver.get_window_size()["width"], whole + 140)
        path.parent.mkdir(parents=True, exist_ok=True)
        assert self.driver.save_screenshot(str(path))
        return path


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium with a profile of its own. Skips, with the reason, where it or its driver is missing."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binaries = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    missing = [name for name, path in binaries.items() if path is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not found: `make browser` says how to get them")
    from selenium.webdriver.chrome.service import Service

    options = selenium.ChromeOptions()
    options.binary_location = str(binaries["chromium"])
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = selenium.Chrome(options=options, service=Service(str(binaries["chromedriver"])))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
