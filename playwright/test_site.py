"""The server and its headers as a browser meets them. The policy forbids eval: wait with locators, not with wait_for_function."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
BLANK = "/blank.html"
PROBE_WORKER = "/probe.js"


@pytest.fixture
def blank(page: Page, site: str) -> Page:
    """An empty page under the server's own headers; `page.route` turns the browser's cache off, so not for tests of that."""
    with urllib.request.urlopen(f"{site}/index.html") as answer:
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    page.route(f"**{BLANK}", lambda route: route.fulfill(body="<!doctype html><title>blank</title>", headers=headers))
    page.goto(BLANK)
    return page


def heard(page: Page, complaints: list[str]) -> str:
    """Complaints that were planted, taken off the list; they come a moment after their cause."""
    for _ in range(20):
        if complaints:
            break
        page.wait_for_timeout(100)
    page.wait_for_timeout(100)  # for what else comes of the same cause
    heard = "\n".join(complaints)
    complaints.clear()
    return heard


def test_the_page_opens_without_a_complaint(page: Page) -> None:
    answer = page.goto("/")
    assert answer is not None and answer.status == 200
    assert page.title()
    assert page.evaluate("crossOriginIsolated")  # or WASM has one thread
    assert page.evaluate("isSecureContext")


def test_every_listed_file_arrives_as_listed(page: Page, site: str) -> None:
    page.goto("/LICENSES.txt")
    wrong = page.evaluate(
        """async () => {
            const { assets } = await (await fetch("/build.json")).json();
            const wrong = [];
            for (const [path, { bytes, sha256 }] of Object.entries(assets)) {
                const content = await (await fetch("/" + path)).arrayBuffer();
                const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
                const hex = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
                if (content.byteLength !== bytes || hex !== sha256) wrong.push(path);
            }
            return wrong;
        }"""
    )
    assert wrong == []


def test_the_same_sources_give_the_same_page(site: str, tmp_path: Path) -> None:
    """Wherever it is written, and whatever is there."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "old.js").touch()
    command = ["node", str(ROOT / "web" / "build.mjs"), str(tmp_path / "page")]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PYTHON": sys.executable})
    with urllib.request.urlopen(f"{site}/build.json") as answer:
        assert answer.read() == (tmp_path / "page" / "build.json").read_bytes()
    assert not (tmp_path / "page" / "old.js").exists()


@pytest.mark.parametrize(
    "attempt",
    [
        "fetch('https://example.com/').catch(() => {})",
        "fetch('http://localhost:1/').catch(() => {})",
        "new Worker(URL.createObjectURL(new Blob(['1'])))",
        "document.body.append(Object.assign(new Image(), { src: 'https://example.com/a.png' }))",
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))",
        "document.body.setAttribute('style', 'color: red')",
    ],
)
def test_the_policy_refuses_and_the_gate_sees_it(blank: Page, complaints: list[str], attempt: str) -> None:
    blank.evaluate(f"() => {{ {attempt}; }}")
    assert "policy" in heard(blank, complaints).lower()
    assert not blank.evaluate("window.ran")


@pytest.mark.parametrize(
    "fault",
    [
        "setTimeout(() => { throw new Error('planted') })",
        "Promise.reject(new Error('planted'))",
        "console.error('planted')",
        "fetch('/planted')",
    ],
)
def test_the_gate_sees_faults_of_the_page(blank: Page, complaints: list[str], fault: str) -> None:
    blank.evaluate(f"() => {{ {fault}; }}")
    assert heard(blank, complaints)


@pytest.mark.parametrize(
    "fault",
    [
        "setTimeout(() => { throw new Error('planted') })",
        "Promise.reject(new Error('planted'))",
        "console.error('planted')",
        "fetch('https://example.com/').catch(() => {})",
    ],
)
def test_the_gate_sees_faults_of_a_worker(blank: Page, complaints: list[str], site: str, fault: str) -> None:
    with urllib.request.urlopen(f"{site}/worker.js") as answer:
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
    script = f"onmessage = () => setTimeout(() => {{ {fault}; }}, 300);"  # later than the gate's listener comes
    blank.route(f"**{PROBE_WORKER}", lambda route: route.fulfill(body=script, headers=headers))
    blank.evaluate(f"() => {{ new Worker('{PROBE_WORKER}', {{ type: 'module' }}).postMessage(0); }}")
    assert heard(blank, complaints)


def test_a_foreign_page_cannot_load_the_files(page: Page, complaints: list[str], site: str) -> None:
    """Another origin without a policy of its own; `no-cors` is how a script or an image is asked for."""
    foreign = site.replace("127.0.0.1", "localhost")
    page.route(f"{foreign}/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(f"{foreign}/")
    assert page.evaluate(f"() => fetch('{site}/build.json', {{ mode: 'no-cors' }}).then(() => 'loaded', () => 'refused')") == "refused"
    assert "foreign request" in heard(page, complaints)


def test_a_second_visit_transfers_nothing_anew(page: Page) -> None:
    page.goto("/LICENSES.txt")
    sizes = page.evaluate(
        """async () => {
            for (let visit = 0; visit < 2; visit++) await (await fetch("/vendor/pyodide/pyodide.asm.mjs")).arrayBuffer();
            return performance.getEntriesByName(location.origin + "/vendor/pyodide/pyodide.asm.mjs").map((entry) => entry.transferSize);
        }"""
    )
    first, second = sizes
    assert first > 10**6 and second < 1000, json.dumps(sizes)


ADAPTER = "async () => (await navigator.gpu?.requestAdapter())?.info.architecture ?? 'none'"


def test_one_browser_has_no_webgpu(page: Page) -> None:
    page.goto("/LICENSES.txt")
    assert page.evaluate(ADAPTER) == "none"


def test_the_other_browser_has_it_on_swiftshader(gpu_page: Page) -> None:
    gpu_page.goto("/LICENSES.txt")
    assert gpu_page.evaluate(ADAPTER) == "swiftshader"
