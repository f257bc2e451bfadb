"""How long a person waits: `python playwright/bench_start.py [OPENINGS] [QUERY]`, on the built page, from its real server.

Each opening is a browser of its own with the profile of the one before, so that all but the first find the caches warm. Told are, from the
page's start: ready, and the first panel of the sample clip, which is clicked as soon as the page is ready. Nothing is asserted.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from statistics import median
from time import monotonic

from playwright.sync_api import Page, Playwright, sync_playwright

from browsers import ROOT, SANDBOX, found_chromium

MOST_S = 60
SETTLE_MS = 4000  # in which a browser writes its caches
WATCH = """
globalThis.told = {};
globalThis.Worker = class extends Worker {
  constructor(...words) {
    super(...words);
    this.addEventListener("message", ({ data }) => (told[data.type] ??= performance.now()));
  }
};
"""


def opening(playwright: Playwright, profile: str, address: str) -> tuple[float, float]:
    """Milliseconds from the page's start to ready and to the first panel."""
    context = playwright.chromium.launch_persistent_context(profile, executable_path=found_chromium(), args=SANDBOX)
    try:
        page = context.pages[0]
        page.add_init_script(WATCH)
        page.goto(address)
        wait_for(page, "ready")
        page.click("#sample")
        wait_for(page, "shown")
        ready, shown = page.evaluate("[told.ready, told.shown]")
        page.wait_for_timeout(SETTLE_MS)
        return ready, shown
    finally:
        context.close()


def wait_for(page: Page, news: str) -> None:
    """Until the worker has told it; the page's policy lets no script be made of text, which Playwright's own waiting does."""
    end = monotonic() + MOST_S
    while not page.evaluate("news => news in told", news):
        if monotonic() > end:
            raise TimeoutError(f"the page was not {news} within {MOST_S} s")
        page.wait_for_timeout(20)


def main(openings: int, query: str) -> None:
    command = [sys.executable, "-m", "autogaze_web.cli", "serve", "--port", "0", "--no-open"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "pyapp")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server, tempfile.TemporaryDirectory() as profile:
        assert server.stdout is not None
        address = server.stdout.readline().strip() + query
        try:
            with sync_playwright() as playwright:
                times = [opening(playwright, profile, address) for _ in range(openings)]
        finally:
            server.send_signal(signal.SIGINT)
    for name, column in zip(("ready", "first panel"), zip(*times, strict=True), strict=True):
        warm = " ".join(f"{milliseconds:.0f}" for milliseconds in column[1:])
        print(f"{name:12} cold {column[0]:.0f} ms, warm {warm}: median {median(column[1:]):.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6, sys.argv[2] if len(sys.argv) > 2 else "?backend=wasm")
