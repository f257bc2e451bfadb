"""Why the page computes in WASM: a sentence for each reason, and the page works all the same."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from playwright.sync_api import Route, expect

from drawn_clips import draw
from page_driver import PageDriver

SELF_TEST_MS = 300_000  # SwiftShader compiles for long
SELF_TEST = "models/default/self_test.json"
SENTENCES = {  # reason: how it begins
    "no-api": "This browser has no WebGPU.",
    "no-adapter": "This browser has WebGPU but found no graphics adapter",
    "insecure": "This page was not opened over https or from this machine",
    "software": "The only graphics adapter is a software one",
    "self-test": "The graphics adapter computed other gaze ids than it should",
    "asked": "WASM was chosen in the settings.",
}
PROLOGUES = {  # of the worker: the browser as it would be
    "no-api": "delete Object.getPrototypeOf(navigator).gpu;",
    "insecure": "Object.defineProperty(globalThis, 'isSecureContext', { value: false });",
}


def check_reason(driver: PageDriver, reason: str) -> None:
    expect(driver.see("backend")).to_have_attribute("data-kind", "wasm")
    expect(driver.see("backend-name")).to_contain_text("WASM, ")
    expect(driver.see("backend-reason")).to_have_attribute("data-reason", reason)
    assert driver.text("backend-explanation").startswith(SENTENCES[reason])
    assert driver.diagnostics()["backend"]["reason"] == reason


@pytest.mark.parametrize("reason", ["no-adapter", *PROLOGUES])
def test_without_webgpu(driver: PageDriver, reason: str) -> None:
    def with_prologue(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=PROLOGUES[reason] + answer.text())

    if reason in PROLOGUES:
        driver.page.context.route("**/worker.js", with_prologue)
    check_reason(driver.open(), reason)


def test_asked_for(kept: PageDriver) -> None:
    """The settings say so, and a change of them starts the worker anew."""
    check_reason(kept.open("?backend=wasm"), "asked")
    kept.see("setting-backend").select_option("auto")
    expect(kept.see("backend-reason")).to_have_attribute("data-reason", "no-adapter", timeout=30_000)
    assert "backend" not in kept.page.url


def test_a_software_adapter_is_not_used_unasked(gpu_driver: PageDriver) -> None:
    check_reason(gpu_driver.open(), "software")
    assert gpu_driver.diagnostics()["backend"]["adapter"]["fallback"]


def test_a_device_that_fails_the_self_test_is_not_used(gpu_driver: PageDriver, site: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The stored ids are others than any device computes, and build.json lists them so."""
    request = gpu_driver.page.request
    stored = json.loads(request.get(f"{site}/{SELF_TEST}").body())
    stored["ids"][0][0] += 1
    tampered = json.dumps(stored).encode()
    build = json.loads(request.get(f"{site}/build.json").body())
    build["assets"][SELF_TEST] = {"bytes": len(tampered), "sha256": sha256(tampered).hexdigest()}
    gpu_driver.page.context.route(f"**/{SELF_TEST}", lambda route: route.fulfill(body=tampered, content_type="application/json"))
    gpu_driver.page.context.route("**/build.json", lambda route: route.fulfill(json=build))
    gpu_driver.open("?backend=webgpu&max_gaze_tokens_each_frame=2", wait=False)
    expect(gpu_driver.see("backend")).to_be_visible(timeout=SELF_TEST_MS)
    check_reason(gpu_driver, "self-test")
    assert gpu_driver.diagnostics()["selfTest"].startswith("[[")  # what it computed
    gpu_driver.run(draw(tmp_path_factory.mktemp("clips") / "clip.webm", 2))
    assert gpu_driver.metrics()["backend"].startswith("WASM")
