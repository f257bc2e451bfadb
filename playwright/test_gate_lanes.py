"""Lanes 2 and 3 of the parity gate, in Chromium: WASM with all cases, WebGPU on SwiftShader with the short ones."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from playwright.sync_api import Page

from autogaze_web.gate.cases import CASES
from autogaze_web.gate.lanes import HARDWARE, SOFTWARE, WASM, Lane, Verdict, verdict_of

KERNELS = ["argmax", "attention", "attention, joined", "attention, split", "copy of caches", "skip norm"]  # of ours, all there are


def failures(verdict: Verdict) -> list[str]:
    """What failed, by case, stage and tensor."""
    return [
        f"{case['name']} {tensor['stage']} {tensor['tensor']}: {tensor['max_difference']} {tensor['note']} {case['note']}"
        for case in verdict["cases"]
        for tensor in case["tensors"]
        if not tensor["passed"]
    ]


def test_wasm_computes_what_cuda_computed(page: Page, site: str) -> None:
    verdict = verdict_of(page, site, WASM)
    assert (verdict["status"], verdict["reason"]) == ("passed", ""), failures(verdict)
    assert {case["name"] for case in verdict["cases"]} == {case.name for case in CASES}


def test_webgpu_computes_what_cuda_computed(gpu_page: Page, site: str) -> None:
    verdict = verdict_of(gpu_page, site, SOFTWARE)
    assert (verdict["status"], verdict["reason"]) == ("passed", ""), failures(verdict)
    assert (verdict["adapter"]["architecture"], verdict["adapter"]["fallback"]) == ("swiftshader", True)
    # A release of ONNX Runtime with other shaders, or a device that failed the self-test with ours, would have none of them.
    assert (verdict["kernels"], verdict["self_test"]) == (KERNELS, "passed, or not needed")
    assert {case["name"] for case in verdict["cases"]} == {case.name for case in CASES if case.short}


def test_the_gpu_lane_is_not_run_without_one(page: Page, site: str) -> None:
    verdict = verdict_of(page, site, HARDWARE)
    assert verdict["status"] == "not run"
    assert "adapter" in verdict["reason"]


@pytest.mark.parametrize("lane", [SOFTWARE, HARDWARE], ids=lambda lane: lane.name)
def test_another_device_in_a_lanes_place_is_a_fault(lane: Lane) -> None:
    elsewhere = {"kind": "wasm", "backend": "WASM, 2 threads", "adapter": None}
    assert lane.complaint(elsewhere)
    other = {"kind": "webgpu", "backend": "", "adapter": {"vendor": "x", "architecture": "y", "fallback": lane is HARDWARE}}
    assert lane.complaint(other)
    assert not lane.complaint(other | {"adapter": {"fallback": lane is SOFTWARE}})


def test_a_fault_in_the_browser_is_found_and_its_stage_named(page: Page, site: str) -> None:
    """The fixtures say something else of one embedding, and build.json lists them so."""
    index = json.loads(page.request.get(f"{site}/parity/fixtures.json").body())
    kept = next(t for t in index["cases"]["short"]["tensors"] if (t["graph"], t["name"]) == ("encode", "vision"))
    kept["runs"][0][3] *= 1.01  # its norm
    tampered = json.dumps(index).encode()
    build = json.loads(page.request.get(f"{site}/build.json").body())
    build["assets"]["parity/fixtures.json"] = {"bytes": len(tampered), "sha256": sha256(tampered).hexdigest()}
    page.context.route("**/parity/fixtures.json", lambda route: route.fulfill(body=tampered, content_type="application/json"))
    page.context.route("**/build.json", lambda route: route.fulfill(json=build))
    verdict = verdict_of(page, site, replace(WASM, query=(*WASM.query, ("cases", "short"))))
    assert verdict["status"] == "failed"
    assert [failure.split(":")[0] for failure in failures(verdict)] == ["short encode vision"]
