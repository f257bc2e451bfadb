"""Take the pictures in docs/pictures: the real page, built and served, with the sample clip. `python playwright/screenshots.py`"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "pyapp"))

from autogaze_web.gate.lanes import served  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
WIDE, NARROW = {"width": 1360, "height": 860}, {"width": 390, "height": 844}
READY_S, RUN_S = 120, 600


def shoot(page: Page, name: str, whole: bool = False) -> None:
    page.wait_for_timeout(3000)  # panels that are no longer kept are painted again
    page.screenshot(path=PICTURES / f"{name}.jpg", type="jpeg", quality=82, full_page=whole)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with served() as site, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport=WIDE, color_scheme="light")
        page.goto(site)
        page.locator("body[data-ready]").wait_for(timeout=READY_S * 1000)
        shoot(page, "page-empty")
        page.locator("#sample").click()
        page.locator("body[data-phase=done]").wait_for(timeout=RUN_S * 1000)
        page.locator("#scrub").fill("40")
        shoot(page, "page-light")
        page.emulate_media(color_scheme="dark")
        page.locator("#scrub").fill("110")
        shoot(page, "page-dark")
        page.keyboard.press("?")
        shoot(page, "page-help")
        page.keyboard.press("Escape")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(NARROW)
        shoot(page, "page-narrow")
        page.emulate_media(color_scheme="dark")
        shoot(page, "page-narrow-dark")
        browser.close()


if __name__ == "__main__":
    main()
