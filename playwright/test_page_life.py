"""A page's long life: videos replaced and cancelled at any time, nothing leaked, files kept, a device that is lost or of no use."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from drawn_clips import draw
from page_driver import PageDriver
from told_by_command_line import check_traces, numbers, told

FEW = "?max_gaze_tokens_each_frame=4"  # tokens, so that frames are quick
FEW_OPTIONS = ["--max-gaze-tokens", "4"]
REPLACED_MS = 200  # the page is on another video
CLIPS = 10  # that are looked at in a row
GPU_MS = 300_000  # SwiftShader compiles for long

# Drops a file and measures until a picture of the page with its name has been drawn. -> ms and what the page says then
DROP_AND_MEASURE = """
async ([name, content]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name, { type: "video/webm" }));
  const picture = () => new Promise(requestAnimationFrame);
  const text = (id) => document.getElementById(id).textContent;
  const begin = performance.now();
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  while (text("video-name") !== name) await picture();
  const says = { what: text("activity-what"), place: text("place"), empty: document.getElementById("stage").hasAttribute("data-empty") };
  await picture();
  return { ms: performance.now() - begin, ...says };
}
"""
# Counts in the worker, beside its own accounts: frames that decoders give, and Python's objects that JavaScript holds.
COUNT = """
self.held = { frames: 0, proxies: 0 };
const closed = VideoFrame.prototype.close, { register, unregister } = FinalizationRegistry.prototype, tokens = new WeakMap();
const open = new WeakSet();
self.VideoDecoder = class extends VideoDecoder {
  constructor({ output, error }) {
    super({ error, output: (frame) => { open.add(frame); held.frames++; output(frame); } });
  }
};
VideoFrame.prototype.close = function () {
  if (open.delete(this)) held.frames--;
  closed.call(this);
};
FinalizationRegistry.prototype.register = function (target, value, token) {
  if (token) { tokens.set(token, (tokens.get(token) ?? 0) + 1); held.proxies++; }
  return register.call(this, target, value, token);
};
FinalizationRegistry.prototype.unregister = function (token) {
  if (unregister.call(this, token)) { held.proxies -= tokens.get(token); tokens.delete(token); }
};
"""
KEEP_DEVICES = """
self.devices = [];
const asked = self.GPUAdapter?.prototype.requestDevice;
if (asked) GPUAdapter.prototype.requestDevice = async function (wish) {
  const device = await asked.call(this, wish);
  devices.push(device);
  return device;
};
"""
TELL_PROGRESS = """
globalThis.told = new Set();
new MutationObserver(() => told.add(document.getElementById("activity-details")?.textContent ?? "")).observe(document, {
  subtree: true, childList: true, characterData: true,
});
"""


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clips") / "long.webm", 150, width=64, height=48)


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clips") / "short.webm", 3, width=64, height=48)


def with_prologue(page: Page, script: str) -> None:
    """Have the worker run this before its own script."""

    def handle(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=script + answer.text())

    page.route("**/worker.js", handle)


def of_worker(page: Page, expression: str) -> Any:
    (worker,) = [worker for worker in page.workers if worker.url.endswith("/worker.js")]
    return worker.evaluate(expression)


def drop_and_measure(driver: PageDriver, clip: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = driver.page.evaluate(DROP_AND_MEASURE, [name, base64.b64encode(clip.read_bytes()).decode()])
    return found


def gazing(driver: PageDriver, frames: int = 2) -> None:
    """Until as many frames of the latest run are done, and more are to come."""
    latest = len(driver.ordered("open"))
    driver.wait_for(lambda: sum(message["run"] == latest for message in driver.heard("frame")) >= frames)
    assert driver.page.locator("body").get_attribute("data-phase") == "gazing"


def test_another_video_replaces_the_running_one_at_once(kept: PageDriver, long_clip: Path, short_clip: Path, tmp_path: Path) -> None:
    kept.open(FEW)
    kept.drop(long_clip)
    spent = []
    for name in ("second.webm", "third.webm", "fourth.webm"):
        gazing(kept)
        says = drop_and_measure(kept, long_clip, name)
        spent.append(says.pop("ms"))
        assert says == {"what": f"Opening {name}", "place": "– / –", "empty": True}
    assert sorted(spent)[1] < REPLACED_MS, spent
    gazing(kept)
    kept.drop(short_clip)
    kept.wait_until_done()
    native = told(short_clip, tmp_path / "out", *FEW_OPTIONS)
    assert numbers(kept.metrics()) == numbers(native.metrics)
    check_traces(kept.trace(), native.trace)
    assert not kept.heard("failed") and kept.notices == []


def test_news_of_an_earlier_video_are_not_heard(kept: PageDriver, short_clip: Path) -> None:
    kept.open(FEW).run(short_clip)
    kept.drop(short_clip, "again.webm")
    kept.wait_until_done(runs=2)
    shown = "() => main.innerText.replace(/[\\d.–]+ fps display/, '')"  # which goes on
    before = kept.page.evaluate(shown)
    late = [
        *({"type": kind, **news, "run": 1} for kind in ("opened", "frame", "shown") for news in kept.heard(kind)[:1]),
        {"type": "repainting", "run": 1, "done": 1, "total": 9},
        {"type": "cancelled", "run": 1, "frames": 1},
        {"type": "failed", "run": 1, "card": {"title": "late", "found": "", "attempt": ""}},
        {"type": "done", "run": 1, "frames": 99, "seconds": 9, "warnings": ["late"]},
    ]
    kept.page.evaluate("(late) => late.forEach((data) => workers.at(-1).dispatchEvent(new MessageEvent('message', { data })))", late)
    kept.page.wait_for_timeout(300)
    assert kept.page.evaluate(shown) == before


def test_of_many_videos_in_one_moment_the_last_one_counts(kept: PageDriver, short_clip: Path) -> None:
    kept.open(FEW)
    for number in range(6):
        kept.drop(short_clip, f"{number}.webm")
    kept.wait_for(lambda: any(message["run"] == 6 for message in kept.heard("done")))
    assert kept.text("video-name") == "5.webm"
    assert kept.metrics()["frames"] == 3
    assert kept.diagnostics()["live"]["videoFrames"] == 0


def drop_and_cancel(driver: PageDriver, clip: Path) -> None:
    """Within one task of the page's that follows the drop."""
    before = len(driver.ordered("open"))
    driver.page.evaluate(
        """(before) => {
             const tick = setInterval(() => {
               if (ordered.filter(({ type }) => type === "open").length === before) return;
               clearInterval(tick);
               document.getElementById("cancel").click();
             }, 0);
           }""",
        before,
    )
    driver.drop(clip)


def test_cancel_while_a_video_is_being_opened(kept: PageDriver, long_clip: Path, short_clip: Path) -> None:
    kept.open(FEW)
    drop_and_cancel(kept, long_clip)
    expect(kept.see("empty")).to_be_visible()
    kept.wait_for(lambda: kept.heard("cancelled"))
    kept.page.wait_for_timeout(500)
    assert kept.heard("frame") == []
    kept.run(short_clip)
    assert kept.diagnostics()["live"]["videoFrames"] == 0


def test_cancel_while_the_page_loads(kept: PageDriver, short_clip: Path) -> None:
    kept.open(FEW, wait=False)
    kept.drop(short_clip)
    expect(kept.see("activity-details")).to_contain_text("starts right after")
    kept.see("cancel").click()
    kept.wait_until_ready()
    expect(kept.see("empty")).to_be_visible()
    kept.page.wait_for_timeout(300)
    assert kept.ordered("open") == []
    kept.run(short_clip)


def test_what_was_done_before_a_cancel_can_be_played_and_saved(kept: PageDriver, long_clip: Path, short_clip: Path, tmp_path: Path) -> None:
    kept.open(FEW)
    kept.drop(long_clip)
    gazing(kept, 4)
    kept.see("cancel").click()
    kept.wait_for(lambda: kept.heard("cancelled"))
    frames = kept.heard("cancelled")[0]["frames"]
    assert 4 <= frames < 150
    expect(kept.see("activity-what")).to_have_text(f"Cancelled after {frames} frames")
    kept.see("to-start").click()
    expect(kept.see("canvas-output")).to_have_attribute("aria-label", "Output, frame 1")
    kept.see("play").click()
    expect(kept.see("canvas-output")).to_have_attribute("aria-label", f"Output, frame {frames}", timeout=30_000)
    native = told(long_clip, tmp_path / "out", *FEW_OPTIONS, "--frames", str(frames))
    assert numbers(kept.metrics()) == numbers(native.metrics)
    check_traces(kept.trace(), native.trace)
    assert len(kept.saved("csv").splitlines()) == 1 + frames
    (tmp_path / "panel.png").write_bytes(kept.saved("png-mask"))
    assert Image.open(tmp_path / "panel.png").size == (64, 48)
    assert len(kept.heard("frame")) == frames  # nothing goes on
    kept.run(short_clip)


def test_ten_videos_leave_nothing_behind(driver: PageDriver, short_clip: Path, long_clip: Path) -> None:
    """Half of them are replaced while they run."""
    with_prologue(driver.page, COUNT)
    driver.open(FEW)
    held = {}
    for number in range(2, CLIPS + 1, 2):
        driver.drop(long_clip)
        gazing(driver)
        driver.drop(short_clip)
        driver.wait_for(lambda: any(message["run"] == number for message in driver.heard("done")))  # noqa: B023
        expect(driver.see("place")).to_have_text("3 / 3")
        live = driver.diagnostics()["live"]
        del live["runs"]
        held[number] = live | of_worker(driver.page, "held")
    assert held[2]["videoFrames"] == held[2]["frames"] == 0
    assert held[2]["tensors"] > 0 and held[2]["proxies"] > 0
    assert held[CLIPS] == held[2], held


def cached(driver: PageDriver) -> bool:
    """Whether the page said, while it loaded, that its files come from the cache; the worker has to say the same at the end."""
    said = any("from cache" in text for text in driver.page.evaluate("[...told]"))
    assert said == any(message["cached"] for message in driver.heard("loading") if message["done"] == message["total"] > 0)
    return said


def test_the_second_visit_loads_from_the_cache_which_can_be_seen_and_cleared(driver: PageDriver) -> None:
    page = driver.page
    page.add_init_script(TELL_PROGRESS)
    driver.open()
    assert not cached(driver)
    page.evaluate("caches.open('autogaze-assets').then((cache) => cache.put('/old.wasm?sha256=0', new Response('of an earlier build')))")
    driver.open()
    assert cached(driver)
    driver.see("model-button").click()
    rows = page.locator("#cache-entries tr")
    expect(rows.first).to_be_visible()
    listed = dict(
        page.locator("#cache-entries tr").evaluate_all("(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText))")
    )
    assets = page.evaluate("fetch('/build.json').then((answer) => answer.json())")["assets"]
    assert {"models/default/model.safetensors", "vendor/pyodide/pyodide.asm.wasm", "autogaze_web.zip"} < set(listed) <= set(assets)
    assert listed == {name: megabytes(assets[name]["bytes"]) for name in listed}
    total = sum(assets[name]["bytes"] for name in listed)
    expect(driver.see("cache-note")).to_contain_text(f"{megabytes(total)} in this browser's cache")
    driver.see("clear-cache").click()
    expect(driver.see("cache-note")).to_have_text("Nothing is kept.")
    expect(driver.see("cache-table")).to_be_hidden()
    expect(driver.see("clear-cache")).to_be_disabled()
    driver.open()
    assert not cached(driver)


def megabytes(count: int) -> str:
    """As the page writes sizes."""
    if count < 1000:
        return f"{count} B"
    value, unit = (count / 1e3, "kB") if count < 1e6 else (count / 1e6, "MB")
    return f"{value:.1f} {unit}" if value < 100 else f"{value:.0f} {unit}"


def test_a_lost_device_changes_no_number(gpu_driver: PageDriver, tmp_path: Path) -> None:
    """Lost once: another one goes on. Lost twice: WASM does."""
    page = gpu_driver.page
    with_prologue(page, KEEP_DEVICES)
    clip = draw(tmp_path / "clip.webm", 4, width=64, height=48)
    gpu_driver.open("?backend=webgpu&max_gaze_tokens_each_frame=10&clip_len=2", wait=False)
    gpu_driver.wait_for(lambda: gpu_driver.heard("ready"), GPU_MS)
    gpu_driver.drop(clip)
    for losses, frames in enumerate((1, 3), 1):
        gpu_driver.wait_for(lambda: len(gpu_driver.heard("frame")) >= frames, GPU_MS)  # noqa: B023
        of_worker(page, "devices.at(-1).destroy()")
        gpu_driver.wait_for(lambda: len(gpu_driver.heard("backend")) == losses, GPU_MS)  # noqa: B023
    gpu_driver.wait_until_done()
    assert [(news["backend"]["kind"], news["backend"]["reason"]) for news in gpu_driver.heard("backend")] == [
        ("webgpu", ""),
        ("wasm", "lost"),
    ]
    expect(gpu_driver.see("backend-reason")).to_have_attribute("data-reason", "lost")
    assert any("graphics device was lost" in notice for notice in gpu_driver.notices)
    native = told(clip, tmp_path / "out", "--max-gaze-tokens", "10", "--clip-len", "2")
    assert numbers(gpu_driver.metrics()) == numbers(native.metrics)
    check_traces(gpu_driver.trace(), native.trace)
    assert [message["news"]["index"] for message in gpu_driver.heard("frame")] == [0, 1, 2, 3]
