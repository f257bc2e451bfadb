"""How long a person waits: `python playwright/bench_start.py [OPENINGS] [QUERY]`, on the built page, from its real server.

Each opening is a browser of its own with the profile of the one before, so that all but the first find the caches warm. Told are, from the
page's start: ready, and the first panel of the sample clip, which is clicked as soon as the page is ready. Nothing is asserted.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from statistics import median

from playwright.sync_api import Playwright, sync_playwright

from autogaze_web.gate.lanes import CHROMIUM
from browsers import ROOT

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
    chromium = next(filter(None, map(shutil.which, CHROMIUM)))
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    context = playwright.chromium.launch_persistent_context(profile, executable_path=chromium, args=sandbox)
    try:
        page = context.pages[0]
        page.add_init_script(WATCH)
        page.goto(address)
        page.wait_for_function("told.ready", polling=20, timeout=60_000)
        page.click("#sample")
        page.wait_for_function("told.shown", polling=20, timeout=60_000)
        ready, shown = page.evaluate("[told.ready, told.shown]")
        page.wait_for_timeout(SETTLE_MS)
        return ready, shown
    finally:
        context.close()


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
