"""Fixtures of the browser's gates: the built page behind its real server, Debian's Chromium, and a page that tolerates no complaint.

A gate that could not run is told and makes the whole run end with 4, as "not run" is never "passed". Playwright's event loop is running
in this thread while `browser` lives: run what needs a loop of its own (the command line) as a process.
This folder is no package, so that `import playwright` finds Playwright.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright, Request, Worker, sync_playwright

from page_driver import PageDriver

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")  # AUTOGAZE_CHROMIUM names another one
SWIFTSHADER = (  # WebGPU on the CPU, with canvases that show what was drawn, in workers too; very slow
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--enable-unsafe-webgpu",
    "--ignore-gpu-blocklist",
    "--enable-gpu",
    "--enable-features=Vulkan",
    "--use-vulkan=swiftshader",
)
TELL_OF_REFUSALS = (  # Chromium itself is silent about refusals in a worker
    "addEventListener('securitypolicyviolation', (event) =>"
    " console.error(`policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`));"
)
NOT_RUN = 4  # exit code
LOCAL = ("blob:", "data:", "about:")  # addresses that need no network
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


@contextmanager
def chromium(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    """Chromium with these flags; the test is not run where there is none."""
    named = os.environ.get("AUTOGAZE_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else CHROMIUM)), None)
    if found is None:
        pytest.skip(f"there is no {named or 'Chromium'}. On Debian: apt-get install chromium; else name one with AUTOGAZE_CHROMIUM.")
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # root has none
    browser = playwright.chromium.launch(executable_path=found, args=[*sandbox, *flags])
    yield browser
    browser.close()


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
