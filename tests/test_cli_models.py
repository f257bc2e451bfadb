"""`autogaze-web export` and `verify` as a person meets them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from autogaze_export import onnx_export, parity
from autogaze_export.parity import ParityReport, TensorReport
from autogaze_web.checkpoint import Checkpoint
from autogaze_web.manifest import MANIFEST
from autogaze_web.model_folder import GRAPHS
from command_line import ENVIRONMENT, call, process, refused
from video_files import cut


def test_export(tiny_model: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = []

    def ready(opened: Checkpoint, source: str, report: Callable[[str], None]) -> dict[str, bytes]:
        sources.append(source)
        report("encode")
        return {path.name: path.read_bytes() for path in tiny_model.iterdir() if path.name not in opened.files}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_export, "export_graphs", ready)
    out = tmp_path / "[red]model"
    result = call("export", checkpoint, out)
    assert (result.exit_code, result.stdout.splitlines()) == (0, [str(out)]), result.output
    assert {path.name for path in out.iterdir()} == {path.name for path in tiny_model.iterdir()}
    assert f"[1/{len(GRAPHS)}] encode" in result.stderr
    for path in out.iterdir():
        assert f"\n{path.name} " in result.stderr
    (out / "parity_report.json").write_text("of other graphs")
    with monkeypatch.context() as interrupted:
        interrupted.setattr(onnx_export, "export_graphs", interrupt)
        assert call("export", checkpoint, out).exit_code == 130
    assert (out / "parity_report.json").read_text() == "of other graphs"
    assert call("export", checkpoint, out, "--source", "noise").exit_code == 0
    assert not (out / "parity_report.json").exists()
    assert sources == ["checkpoint", "noise"]


def test_export_refuses_damaged_weights(checkpoint: Path, tmp_path: Path) -> None:
    cut(checkpoint / "model.safetensors", 0.5)
    assert "model.safetensors" in refused(call("export", checkpoint, tmp_path / "out"), 1)
    assert not (tmp_path / "out").exists()


GOOD = TensorReport("encode", "vision", [1, 16, 32], 1e-6, 1e-3, True)
BAD = TensorReport("step_next", "next.[red]key", [2], float("nan"), 1e-4, False, "first at [0]")


@pytest.mark.parametrize(
    ("report", "code", "verdict"),
    [
        (ParityReport("torch", "ort", [GOOD]), 0, "PASSED: 1 tensors agree with PyTorch."),
        (ParityReport("torch", "ort", [GOOD, BAD]), 3, "FAILED: 1 of 2 tensors do not agree with PyTorch."),
        (ParityReport("torch", "ort", [], not_run="no CUDA here"), 4, "NOT RUN: no CUDA here"),
    ],
)
def test_verify(checkpoint: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, report: ParityReport, code: int, verdict: str) -> None:
    (checkpoint / MANIFEST).write_bytes((tiny_model / MANIFEST).read_bytes())
    asked = []

    def ready(folder: Path, device: str) -> ParityReport:
        asked.append((folder, device))
        return report

    monkeypatch.setattr(parity, "verify_model", ready)
    result = call("verify", checkpoint, "--device", "cuda")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (code, verdict)
    assert asked == [(checkpoint, "cuda")]
    for tensor in report.tensors:
        (line,) = [line for line in result.stdout.splitlines() if tensor.tensor in line]
        assert f"{tensor.max_difference:.2e}" in line and ("ok" if tensor.passed else "FAILED") in line
    written = json.loads((checkpoint / "parity_report.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (written["passed"], len(written["tensors"]), written["not_run"]) == (code == 0, len(report.tensors), report.not_run)


@pytest.mark.parametrize("command", ["export", "verify"])
def test_without_torch_nothing_is_run(command: str, checkpoint: Path, tiny_model: Path, tmp_path: Path) -> None:
    words = ("export", checkpoint, tmp_path / "out") if command == "export" else ("verify", tiny_model)
    done = subprocess.run(
        process(*words, before="sys.modules['torch'] = None"), env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == 'error: Nothing was done: torch is not installed. Run: pip install "autogaze-web[export]"\n'
