"""The server and its headers as a browser meets them. The policy forbids eval: wait with locators, not with wait_for_function."""

from __future__ import annotations

import json
import urllib.request

import pytest
from playwright.sync_api import Page

PROBE_WORKER = "/probe.js"


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


@pytest.mark.parametrize(
    "attempt",
    [
        "fetch('https://example.com/').catch(() => {})",
        "fetch('http://localhost:1/').catch(() => {})",
        "new Worker(URL.createObjectURL(new Blob(['1'])))",
        "document.body.append(Object.assign(new Image(), { src: 'https://example.com/a.png' }))",
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = 1' }))",
        "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')",
    ],
)
def test_the_policy_refuses_and_the_gate_sees_it(page: Page, complaints: list[str], attempt: str) -> None:
    page.goto("/LICENSES.txt")
    page.evaluate(f"() => {{ {attempt}; }}")
    page.wait_for_timeout(100)
    assert any("policy" in complaint.lower() for complaint in complaints), complaints
    assert not page.evaluate("window.ran")
    complaints.clear()


@pytest.mark.parametrize(
    "fault",
    [
        "setTimeout(() => { throw new Error('planted') })",
        "Promise.reject(new Error('planted'))",
        "console.error('planted')",
        "fetch('/planted')",
    ],
)
def test_the_gate_sees_faults_of_the_page(page: Page, complaints: list[str], fault: str) -> None:
    page.goto("/LICENSES.txt")
    page.evaluate(f"() => {{ {fault}; }}")
    page.wait_for_timeout(100)
    assert complaints, "this fault goes unseen"
    complaints.clear()


@pytest.mark.parametrize(
    "fault",
    [
        "setTimeout(() => { throw new Error('planted') })",
        "Promise.reject(new Error('planted'))",
        "console.error('planted')",
        "fetch('https://example.com/').catch(() => {})",
    ],
)
def test_the_gate_sees_faults_of_a_worker(page: Page, complaints: list[str], site: str, fault: str) -> None:
    headers = {name: value for name, value in urllib.request.urlopen(f"{site}/worker.js").headers.items() if name != "content-length"}
    page.route(f"**{PROBE_WORKER}", lambda route: route.fulfill(body=f"onmessage = () => {{ {fault}; }};", headers=headers))
    page.goto("/LICENSES.txt")
    page.evaluate(f"() => {{ new Worker('{PROBE_WORKER}', {{ type: 'module' }}).postMessage(0); }}")
    page.wait_for_timeout(500)
    assert complaints, "this fault goes unseen"
    complaints.clear()


def test_a_foreign_site_cannot_use_the_files(page: Page, complaints: list[str], site: str) -> None:
    """A page of another origin that got past the browser's rules is refused by its Host header; here by resource policy."""
    other = site.replace("127.0.0.1", "localhost")  # another origin by the browser's rules
    page.goto("/LICENSES.txt")
    refused = page.evaluate(f"() => fetch('{other}/build.json').then(() => false, () => true)")
    assert refused
    complaints.clear()


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
