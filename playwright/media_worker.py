"""Fixtures: the worker's media modules behind a page of their own, with the real page's policy."""

from __future__ import annotations

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser

from autogaze_web.server import HEADERS
from browsers import ROOT

CLIPS = ROOT / "playwright" / "clips"
PAGE = b"""<!doctype html><title>media</title><script type="module" src="page.js"></script>"""
LINK = b"""
const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
worker.onmessage = ({ data }) => waiting.get(data.id)(data);
worker.onerror = (event) => console.error(`worker: ${event.message}`);
globalThis.ask = (call, args) => new Promise((resolve) => {
  waiting.set(waiting.size, resolve);
  worker.postMessage({ call, args, id: waiting.size - 1 });
});
"""


class Ask(Protocol):
    def __call__(self, call: str, **arguments: Any) -> Any: ...


class FaultTold(Exception):
    """An error of the worker; `card` where it is for a person."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['name']}: {error['message']}")
        self.name = error["name"]
        self.card: dict[str, Any] = error.get("card") or {}


class _Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        for name, value in HEADERS.items():  # the page's own policy
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module", name="media_site")
def serve_media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The harness, bundled as the page's worker is, and the clips."""
    folder = tmp_path_factory.mktemp("media")
    subprocess.run(["make", "--silent", "web/node_modules/.ready"], cwd=ROOT, check=True)
    bundler = [str(ROOT / "web/node_modules/.bin/esbuild"), str(ROOT / "playwright/media_harness.js"), "--bundle", "--format=esm"]
    subprocess.run([*bundler, "--log-level=warning", f"--outfile={folder / 'worker.js'}"], check=True)
    (folder / "index.html").write_bytes(PAGE)
    (folder / "page.js").write_bytes(LINK)
    (folder / "favicon.ico").touch()
    (folder / "clips").symlink_to(CLIPS)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module", name="ask")
def ask_worker(browser: Browser, media_site: str) -> Iterator[Ask]:
    """Call a function of the harness in its worker. Nothing may be complained of on the console meanwhile."""
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{media_site}/index.html", wait_until="networkidle")

    def ask(call: str, **arguments: Any) -> Any:
        answer = page.evaluate("([call, args]) => ask(call, args)", [call, arguments])
        if "error" in answer:
            raise FaultTold(answer["error"])
        return answer["value"]

    yield ask
    page.close()
    assert complaints == []
