"""What the command line says of a clip, to compare the page with. A process of its own: Playwright's loop runs in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOSS_TOLERANCE = 1e-4  # of predicted losses: sums in another order; nothing else may differ
PSNR_DIGITS = 9
OF_THE_PLACE = ("backend", "versions", "output_files", "warnings", "timing")  # of metrics.json: not numbers of the run


@dataclass(frozen=True)
class Told:
    metrics: dict[str, Any]
    trace: dict[str, Any]
    folder: Path


def told(clip: Path, out: Path, *options: str, gif_width: int = 0) -> Told:
    """Run `autogaze-web run` with these options."""
    command = [sys.executable, "-m", "autogaze_web.cli", "run", str(clip), "--out", str(out), "--gif-width", str(gif_width), *options]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT / "pyapp")}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Told(json.loads((out / "metrics.json").read_bytes()), json.loads((out / "trace.json").read_bytes()), out)


def numbers(metrics: dict[str, Any]) -> dict[str, Any]:
    """What has to be the same wherever it is computed; decibels but for the last digits, which are the C library's logarithm's."""
    return {key: shortened(key, value) for key, value in metrics.items() if key not in OF_THE_PLACE}


def shortened(key: str, value: Any) -> Any:
    return round(value, PSNR_DIGITS) if "psnr" in key and isinstance(value, float) else value


def check_traces(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Assert that two traces say the same: every id, flag and time exactly, predicted losses nearly."""
    assert found | {"frames": ()} == wanted | {"frames": ()}
    pairs = zip(found["frames"], wanted["frames"], strict=False)
    differing = [(exact(ours), exact(theirs)) for ours, theirs in pairs if exact(ours) != exact(theirs)]
    assert not differing, f"{len(differing)} frames differ, the first: {differing[0][0]} for {differing[0][1]}"
    assert len(found["frames"]) == len(wanted["frames"])
    assert losses(found) == pytest.approx(losses(wanted), rel=LOSS_TOLERANCE, abs=LOSS_TOLERANCE)


def exact(frame: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in frame.items() if key != "task_loss"}


def losses(trace: dict[str, Any]) -> list[float]:
    return [loss for frame in trace["frames"] for tile in frame["task_loss"] for loss in tile]
