"""Fixtures of the browser's gates: the built page behind its real server, Debian's Chromium, and a page that tolerates no complaint.

A gate that could not run is told and makes the whole run end with 4, as "not run" is never "passed". Playwright's event loop is running
in this thread while `browser` lives: run what needs a loop of its own (the command line) as a process.
This folder is no package, so that `import playwright` finds Playwright.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from autogaze_web.gate.lanes import SWIFTSHADER
from browsers import ROOT, chromium, watched_page
from page_driver import PageDriver

NOT_RUN = 4  # exit code
STOP_S = 10
NOT_RUN_REASONS = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOT_RUN_REASONS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reasons = config.stash[NOT_RUN_REASONS]
    for reason in sorted(set(reasons)):
        terminalreporter.write_line(f"NOT RUN: {reasons.count(reason)} tests: {reason}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.stash[NOT_RUN_REASONS] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = NOT_RUN


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Count skips here as not run: nothing in this folder may pass by not running."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.skipped and item.path.is_relative_to(ROOT / "playwright") and call.excinfo is not None:
        item.config.stash[NOT_RUN_REASONS].append(str(call.excinfo.value))


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the page, built if it is older than its sources and served as `autogaze-web serve` does; no slash at its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    built = subprocess.run(["make", "--silent", "web"], cwd=ROOT, env=environment, capture_output=True, text=True)
    if built.returncode:
        pytest.fail(f"make web failed:\n{built.stdout}{built.stderr}", pytrace=False)
    command = [sys.executable, "-m", "autogaze_web.cli", "serve", "--port", "0", "--no-open"]
    environment["PYTHONPATH"] = str(ROOT / "pyapp")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield server.stdout.readline().strip().removesuffix("/")
        server.send_signal(signal.SIGINT)
        assert server.wait(STOP_S) == 0, "the server did not stop cleanly at Ctrl-C"


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium as a machine without a GPU has it: no WebGPU adapter, so the page takes the WASM route."""
    with chromium(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def gpu_browser(playwright: Playwright) -> Iterator[Browser]:
    """Chromium with WebGPU on SwiftShader."""
    with chromium(playwright, *SWIFTSHADER) as browser:
        yield browser


@pytest.fixture
def complaints() -> list[str]:
    """What went wrong in `page` or `gpu_page`; the test fails unless it empties the list."""
    return []


@pytest.fixture
def page(browser: Browser, site: str, complaints: list[str]) -> Iterator[Page]:
    """A page on the WASM route; `page.goto("/")` opens it."""
    with watched_page(browser, site, complaints) as page:
        yield page


@pytest.fixture
def gpu_page(gpu_browser: Browser, site: str, complaints: list[str]) -> Iterator[Page]:
    """A page with WebGPU on SwiftShader."""
    with watched_page(gpu_browser, site, complaints) as page:
        yield page


@pytest.fixture
def driver(page: Page) -> PageDriver:
    """Drives `page`; `driver.open()` opens it."""
    return PageDriver(page)


@pytest.fixture
def gpu_driver(gpu_page: Page) -> PageDriver:
    """Drives `gpu_page`."""
    return PageDriver(gpu_page)


@pytest.fixture(scope="module")
def kept(browser: Browser, site: str) -> Iterator[PageDriver]:
    """One page for the tests of a file, which leave it usable: starting the worker takes seconds. Nothing may be complained of."""
    with watched_page(browser, site, []) as page:
        yield PageDriver(page)
