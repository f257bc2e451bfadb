"""Our WebGPU kernels compute what they stand in for, on a software adapter; that ONNX Runtime runs them is test_gate_lanes.py's."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from browsers import ROOT

Call = Callable[..., Any]
ROUNDING = 2e-5
LEAST, ROOMY = 16 << 10, 32 << 10  # bytes of a workgroup's memory: what every device has, and what most have


@pytest.fixture(scope="module", params=[LEAST, ROOMY], ids=["least memory", "roomy"])
def call(request: pytest.FixtureRequest, gpu_browser: Browser) -> Iterator[Call]:
    """Call a function of kernels_harness.js, on a device whose workgroups have so much memory."""
    bundler = [str(ROOT / "web/node_modules/.bin/esbuild"), str(ROOT / "playwright/kernels_harness.js"), "--bundle", "--loader:.wgsl=text"]
    subprocess.run(["make", "--silent", "web/node_modules/.ready"], cwd=ROOT, check=True)
    harness = subprocess.run([*bundler, "--log-level=warning"], check=True, capture_output=True, text=True).stdout
    page = gpu_browser.new_page()
    page.route("**/*", lambda route: route.fulfill(body="<title>kernels</title>", content_type="text/html"))
    page.goto("http://127.0.0.1/")  # WebGPU is for secure contexts, which this machine is
    page.evaluate(harness)
    page.evaluate("storage => kernels.open(storage)", request.param)
    yield lambda name, argument: page.evaluate("([name, argument]) => kernels[name](argument)", [name, argument])
    page.close()


@pytest.mark.parametrize(
    "shape",
    [
        {"batch": 2, "heads": 3, "queries": 206, "keys": 512, "used": 330, "size": 32},
        {"batch": 1, "heads": 2, "queries": 64, "keys": 64, "used": 63, "size": 32},
        {"batch": 3, "heads": 1, "queries": 65, "keys": 256, "used": 255, "size": 16},
    ],
)
def test_attention_of_many_queries(call: Call, shape: dict[str, int]) -> None:
    assert call("attention", shape) < ROUNDING


@pytest.mark.parametrize(
    "shape",
    [
        {"batch": 2, "heads": 6, "queries": 10, "keys": 512, "used": 330, "tile": 4},
        {"batch": 1, "heads": 6, "queries": 2, "keys": 832, "used": 600, "tile": 2},
        {"batch": 2, "heads": 1, "queries": 30, "keys": 128, "used": 100, "tile": 4},
        {"batch": 1, "heads": 2, "queries": 10, "keys": 150, "used": 140, "tile": 4},
    ],
)
def test_attention_of_few_queries(call: Call, shape: dict[str, int]) -> None:
    assert call("split", shape) < ROUNDING


@pytest.mark.parametrize("rows", [1, 2, 45, 64, 65, 180])
@pytest.mark.parametrize("width", [1, 5, 266, 600])
def test_argmax_takes_the_first_of_equals(call: Call, rows: int, width: int) -> None:
    assert call("argmax", {"rows": rows, "width": width}) == 0


@pytest.mark.parametrize("width", [16, 192, 256, 1024])
def test_skip_norm(call: Call, width: int) -> None:
    assert call("skipNorm", {"rows": 37, "width": width}) < ROUNDING


@pytest.mark.parametrize(
    ("follower", "read", "copy", "given"),
    [
        ("attention", [11, 22, 33, 44], [0, 0, 0, 0], True),  # reads what would have been copied, whose memory is given back
        ("attention, others read the copy", [11, 22, 33, 44], [0, 0, 0, 0], False),
        ("another", [11, 22, 33, 44], [1, 2, 3, 4], False),
        ("attention elsewhere", [11, 22, 33, 44], [1, 2, 3, 4], False),  # one of its two is not the copy
        ("nothing", [0, 0, 0, 0], [1, 2, 3, 4], False),
    ],
)
def test_a_copy_is_made_unless_attention_reads_what_was_copied(
    call: Call, follower: str, read: list[int], copy: list[int], given: bool
) -> None:
    assert call("copied", follower) == {"read": read, "copy": copy, "given": given}
