"""Chromium for the gates, and a page that tolerates no complaint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, Request, Worker

from autogaze_web.gate.lanes import CHROMIUM

ROOT = Path(__file__).resolve().parents[1]
TELL_OF_REFUSALS = (  # Chromium itself is silent about refusals in a worker
    "addEventListener('securitypolicyviolation', (event) =>"
    " console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));"
)
LOCAL = ("blob:", "data:", "about:")  # addresses that need no network
NAMED = "AUTOGAZE_CHROMIUM"  # of the environment: another Chromium
SANDBOX = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has none


def found_chromium() -> str | None:
    """Where Chromium is; None where there is none."""
    named = os.environ.get(NAMED)
    return next(filter(None, map(shutil.which, [named] if named else CHROMIUM)), None)


@contextmanager
def chromium(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    """Chromium with these flags; the test is not run where there is none."""
    found = found_chromium()
    if found is None:
        named = os.environ.get(NAMED)
        pytest.skip(f"there is no {named or 'Chromium'}. On Debian: apt-get install chromium; else name one with AUTOGAZE_CHROMIUM.")
    browser = playwright.chromium.launch(executable_path=found, args=[*SANDBOX, *flags])
    yield browser
    browser.close()


def watch_worker(worker: Worker) -> None:
    """Have a worker tell of refusals from its first idle moment on; threads of ONNX Runtime have no such moment."""
    if "/vendor/" not in worker.url:
        with suppress(Error):  # it has ended before that
            worker.evaluate(TELL_OF_REFUSALS)


@contextmanager
def watched_page(browser: Browser, site: str, complaints: list[str]) -> Iterator[Page]:
    """A page in a profile of its own; console errors, uncaught errors, refusals by the policy and foreign requests are complaints."""
    context = browser.new_context(base_url=site, viewport={"width": 1280, "height": 800})
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site)
    page = context.new_page()

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "assert"):
            complaints.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")

    def on_request(request: Request) -> None:
        if not request.url.startswith((f"{site}/", *LOCAL)):
            complaints.append(f"foreign request: {request.method} {request.url}")

    context.on("request", on_request)
    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(f"uncaught: {error}"))
    page.on("crash", lambda: complaints.append("the page crashed"))
    page.add_init_script(TELL_OF_REFUSALS)
    page.on("worker", watch_worker)
    yield page
    context.close()
    assert not complaints, "\n".join(complaints)
