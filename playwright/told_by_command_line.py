"""What the command line says of a clip, to compare the page with. A process of its own: Playwright's loop runs in this one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
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
    """What has to be the same wherever it is computed."""
    return {key: value for key, value in metrics.items() if key not in OF_THE_PLACE}
