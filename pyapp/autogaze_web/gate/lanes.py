"""The gate's lanes: where the cases are run, and what each must find there (CPython only; browsers by Playwright).

A lane that cannot run says why and is never passed; a lane that finds another device than its own has failed.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from autogaze_web.errors import NotRunError
from autogaze_web.gate import files
from autogaze_web.gate.fixtures import StaleError
from autogaze_web.gate.verdict import FAILED, NOT_RUN, judge

if TYPE_CHECKING:
    from playwright.sync_api import Page

Verdict = dict[str, Any]  # verdict.Verdict.to_json()
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
GPU = ("--enable-unsafe-webgpu", "--ignore-gpu-blocklist", "--enable-features=Vulkan", "--use-angle=vulkan", "--disable-vulkan-surface")
MINUTES = 20  # of a lane, at most


@dataclass(frozen=True)
class Lane:
    """One place to run the cases."""

    name: str
    about: str
    flags: tuple[str, ...] = ()
    query: tuple[tuple[str, str], ...] = ()  # of gate.html
    kind: str = ""  # the backend that must be found: "wasm" or "webgpu"
    software: bool = False  # whether the adapter must be a software one

    def complaint(self, verdict: Verdict) -> str:
        """What is wrong with where the cases ran; "" for nothing."""
        if verdict.get("kind") != self.kind:
            return f"the cases ran on {verdict.get('backend') or 'nothing'}, and this lane is for {self.kind}"
        adapter = verdict.get("adapter") or {}
        if self.kind == "webgpu" and bool(adapter.get("fallback")) != self.software:
            return f"the adapter is {adapter.get('vendor')} {adapter.get('architecture')}, and this lane is for {self.about}"
        return ""


NATIVE = Lane("native", "CPython, ONNX Runtime on the CPU")
WASM = Lane("wasm", "Chromium, WASM", query=(("backend", "wasm"),), kind="wasm")
SHORT = (("backend", "webgpu"), ("cases", "short"), ("limits", "tight"))
SOFTWARE = Lane("swiftshader", "Chromium, WebGPU on SwiftShader", SWIFTSHADER, SHORT, "webgpu", True)
HARDWARE = Lane("gpu", "Chromium, WebGPU on a GPU", GPU, (("backend", "gpu"),), "webgpu")
LANES = (NATIVE, WASM, SOFTWARE, HARDWARE)


def run_native() -> Verdict:
    """Lane 1."""
    from autogaze_web.manifest import MANIFEST
    from autogaze_web.model_folder import open_model
    from autogaze_web.runtimes.native import NativeRuntime

    fixtures, checkpoints = files.fixtures(), files.checkpoints()
    graphs = {path.name: path.read_bytes() for path in files.MODEL.glob("*.onnx")}
    opened = {name: open_model(name, (files.MODEL / MANIFEST).read_bytes(), graphs, each) for name, each in checkpoints.items()}
    models = {name: (NativeRuntime(model), model.checkpoint) for name, model in opened.items()}
    try:
        return asyncio.run(judge(NATIVE.name, "cpu", fixtures, models)).to_json()
    except StaleError as error:
        return outcome(NATIVE, FAILED, str(error))


def run_browser(lane: Lane) -> Verdict:
    """A lane in Chromium, on a server of its own; console errors and requests to other hosts fail it."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return outcome(lane, NOT_RUN, 'Playwright is not installed. Run: pip install "autogaze-web[dev]"')
    named = os.environ.get("AUTOGAZE_CHROMIUM")
    found = next(filter(None, map(shutil.which, [named] if named else CHROMIUM)), None)
    if found is None:
        return outcome(
            lane, NOT_RUN, f"there is no {named or 'Chromium'}. On Debian: apt-get install chromium; else name one with AUTOGAZE_CHROMIUM"
        )
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with served() as site, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=[*sandbox, *lane.flags])
        try:
            page = browser.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on(
                "request",
                lambda request: complaints.append(f"foreign request: {request.url}") if not request.url.startswith(site) else None,
            )
            verdict = verdict_of(page, site, lane)
        finally:
            browser.close()
    if complaints and verdict["status"] != NOT_RUN:
        verdict |= {"status": FAILED, "reason": f"the browser complained: {complaints[0][:300]}"}
    return verdict


def verdict_of(page: Page, site: str, lane: Lane) -> Verdict:
    """Open the gate's page and await its verdict; site: the server's address."""
    page.goto(f"{site.rstrip('/')}/gate.html?{urlencode(lane.query)}")
    page.locator("body:not([data-status=running])[data-status]").wait_for(timeout=MINUTES * 60_000)
    verdict: Verdict = json.loads(page.locator("#verdict").text_content() or "{}")
    verdict["lane"] = lane.name
    if verdict["status"] != NOT_RUN and (complaint := lane.complaint(verdict)):
        verdict |= {"status": FAILED, "reason": complaint}
    return verdict


def outcome(lane: Lane, status: str, reason: str) -> Verdict:
    """A verdict without cases."""
    return {"lane": lane.name, "status": status, "reason": reason, "backend": "", "cases": []}


@contextmanager
def served() -> Iterator[str]:
    """The page on a server in a process of its own; -> its address. NotRunError where it was not built."""
    command = [sys.executable, "-m", "autogaze_web.cli", "serve", "--port", "0", "--no-open"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stderr is not None
        address = server.stdout.readline().strip()
        if not address:
            raise NotRunError(server.stderr.read().strip().removeprefix("error: "))
        try:
            yield address
        finally:
            server.send_signal(signal.SIGINT)
