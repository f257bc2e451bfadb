"""The page as a person uses it: files dropped on it, keys, buttons, downloads; and what page and worker said to each other."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from playwright.sync_api import Download, Locator, Page, expect

READY_MS, DONE_MS = 60_000, 90_000  # of the slowest machine that tests should pass on
DIAGNOSTICS = 10**6  # request numbers that the page itself never reaches
# Runs before the page's own scripts: keeps the messages, without what is large.
LISTEN = """
(() => {
  const kept = ({ type, ...rest }) => JSON.parse(JSON.stringify({ type, ...rest, canvases: undefined, file: undefined, files: undefined }));
  globalThis.heard = [];
  globalThis.ordered = [];
  globalThis.workers = [];
  globalThis.Worker = class extends Worker {
    constructor(...words) {
      super(...words);
      workers.push(this);
      this.addEventListener("message", ({ data }) => heard.push(kept(data)));
    }
    postMessage(order, ...rest) {
      ordered.push(kept(order));
      super.postMessage(order, ...rest);
    }
  };
})();
"""
HAND_OVER = """
([event, files]) => {
  const transfer = new DataTransfer();
  for (const { name, type, content } of files) {
    transfer.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name, { type }));
  }
  const named = event === "paste" ? { clipboardData: transfer } : { dataTransfer: transfer };
  const Kind = event === "paste" ? ClipboardEvent : DragEvent;
  document.body.dispatchEvent(new Kind(event, { ...named, bubbles: true, cancelable: true }));
}
"""


class PageDriver:
    """A page that `open` has opened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        page.add_init_script(LISTEN)
        page.on("filechooser", lambda chooser: None)  # or a picker opens for real while Playwright is getting ready to catch it

    def open(self, query: str = "", wait: bool = True) -> PageDriver:
        self.page.goto(f"/{query}")
        if wait:
            self.wait_until_ready()
        else:  # for the page's own scripts only
            self.page.locator("#setting-mode").wait_for()
        return self

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.see("backend").is_visible() or self.card.count(), READY_MS)
        assert self.card.count() == 0, self.card.inner_text()

    def hand_over(self, files: Mapping[str, bytes], event: str = "drop", kind: str = "video/webm") -> None:
        """Drop or paste files, by name."""
        content = [{"name": name, "type": kind, "content": base64.b64encode(data).decode()} for name, data in files.items()]
        self.page.evaluate(HAND_OVER, [event, content])

    def drop(self, clip: Path, name: str | None = None) -> None:
        self.hand_over({name or clip.name: clip.read_bytes()})

    def choose(self, clip: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self.page.locator("#choose-video:visible, #open-button:visible").first.click()
        chooser.value.set_files(clip)

    def wait_until_done(self, runs: int = 0, timeout: float = DONE_MS) -> None:
        """Until the page says so; runs: as many in all, where an earlier one is done already."""
        if runs:
            self.wait_for(lambda: len(self.heard("done")) >= runs, timeout)
        done = self.see("activity-what").filter(has_text="Done")
        self.wait_for(lambda: done.is_visible() or self.card.count(), timeout)
        assert self.card.count() == 0, self.card.inner_text()

    def wait_for(self, condition: Callable[[], object], timeout: float = DONE_MS) -> None:
        """Until something is so that no locator can see."""
        end = monotonic() + timeout / 1000
        while not condition():
            assert monotonic() < end, f"it did not happen; the page says: {self.page.locator('main').inner_text()[:500]}"
            self.page.wait_for_timeout(50)

    def run(self, clip: Path) -> None:
        """Drop a clip and wait for its end."""
        self.drop(clip)
        expect(self.page.locator("#video-name")).to_have_text(clip.name)
        self.wait_until_done()

    def save(self, button: str) -> Download:
        """Click a download's button."""
        with self.page.expect_download(timeout=DONE_MS) as download:
            self.page.locator(f"#download-{button}").click(timeout=DONE_MS)
        return download.value

    def saved(self, button: str) -> bytes:
        return Path(self.save(button).path()).read_bytes()

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.saved("metrics"))
        return found

    def trace(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.saved("trace"))
        return found

    def heard(self, kind: str) -> list[dict[str, Any]]:
        """What the worker said, of one type, since the page was opened."""
        found: list[dict[str, Any]] = self.page.evaluate("(kind) => heard.filter(({ type }) => type === kind)", kind)
        return found

    def ordered(self, kind: str) -> list[dict[str, Any]]:
        """What the page told the worker to do."""
        found: list[dict[str, Any]] = self.page.evaluate("(kind) => ordered.filter(({ type }) => type === kind)", kind)
        return found

    def diagnostics(self) -> dict[str, Any]:
        """The worker's report."""
        report: dict[str, Any] = self.page.evaluate(
            """(request) => new Promise((resolve) => {
                 const worker = workers.at(-1);
                 const listen = ({ data }) => {
                   if (data.type !== "diagnostics" || data.request !== request) return;
                   worker.removeEventListener("message", listen);
                   resolve(data.report);
                 };
                 worker.addEventListener("message", listen);
                 worker.postMessage({ type: "diagnostics", request });
               })""",
            DIAGNOSTICS,
        )
        return report

    def text(self, name: str) -> str:
        return self.page.locator(f"#{name}").inner_text()

    def see(self, name: str) -> Locator:
        return self.page.locator(f"#{name}")

    @property
    def card(self) -> Locator:
        return self.page.locator(".card")

    @property
    def notices(self) -> Sequence[str]:
        return self.page.locator(".notice p").all_inner_texts()

    @contextmanager
    def accepting(self, answer: str = "licence-accept") -> Iterator[None]:
        """The licence is shown meanwhile, and answered."""
        yield
        expect(self.see("licence")).to_be_visible()
        self.see(answer).click()
