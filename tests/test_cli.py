"""`autogaze-web run` as a person meets it: options, stdout for data only, hostile names, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from autogaze_web.manifest import MANIFEST
from command_line import ENVIRONMENT, call, process, refused
from video_files import cut, noise, write

ALL = ["metrics.json", "trace.json", "input.gif", "mask.gif", "output.gif"]


def test_run_prints_files_on_stdout_and_the_rest_on_stderr(tiny_model: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "clip.webm", noise(5), "libvpx-vp9 yuv420p")
    result = call("run", video, "--model", tiny_model, "--out", tmp_path / "out")
    assert (result.exit_code, result.stdout.splitlines()) == (0, [str(tmp_path / "out" / name) for name in ALL])
    (line,) = result.stderr.splitlines()
    assert line.startswith("5 frames in ")
    for stage in ("decode", "gaze", "paint", "write"):
        assert f"{stage} " in line


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("--mode tiled --tile-batch 1", {"inference_mode": "tiled", "tile_count": 1, "tile_batch_size": 1}),
    ("--gazing-ratio 0.3", {"max_gaze_tokens_each_frame": 6, "task_loss_requirement": None}),
    ("--gazing-ratio 0.1,0.2,0.3,0.4", {"max_gaze_tokens_each_frame": [2, 4, 6, 8]}),
    ("--max-gaze-tokens 7", {"max_gaze_tokens_each_frame": 7, "task_loss_requirement": None}),
    ("--task-loss -0.78", {"max_gaze_tokens_each_frame": 20, "task_loss_requirement": -0.78}),
    ("--task-loss-db -20", {"task_loss_requirement": 10.0, "task_loss_requirement_db": -20.0}),
    ("--gazing-ratio 0.3 --task-loss=-2", {"max_gaze_tokens_each_frame": 6, "task_loss_requirement": -2.0}),
    ("", {"max_gaze_tokens_each_frame": 15, "task_loss_requirement": 0.7}),
    ("--window rolling --clip-len 2", {"window": "rolling", "clip_len": 2}),
    ("--target-scales 64+128 --target-patch-size 16", {"inference_mode": "target", "scales": [64, 128]}),
    ("--output-mode full-blend --alpha 0.55", {"visualization_mode": "full-blend", "blend_alpha": 0.55}),
    ("--mask-mode image-mask-only --geometry deduplicated", {"mask_mode": "image-mask-only", "geometry": "deduplicated"}),
    ("--keyframe 2 --cell-scale 1.5", {"keyframe_duration": 2, "mask_cell_scale": 1.5}),
    ("--gif-width 0", {"output_files": ALL[:2]}),
    ("--gif-width 16 --frames 3 --start 1", {"frames": 3, "output_files": ALL}),
    ("--device cpu --threads 1", {"backend": f"onnxruntime {onnxruntime.__version__} cpu"}),
]


@pytest.mark.parametrize(("options", "wanted"), OPTIONS, ids=[options or "none" for options, _ in OPTIONS])
def test_every_option_arrives(tiny_model: Path, video: Path, tmp_path: Path, options: str, wanted: dict[str, Any]) -> None:
    result = call("run", video, "--model", tiny_model, "--out", tmp_path / "out", *options.split())
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {key: metrics[key] for key in wanted} == wanted


def test_warnings_are_shown_at_the_end(tiny_model: Path, tmp_path: Path) -> None:
    video = cut(write(tmp_path / "clip.mkv", noise(12)), 0.6)
    result = call("run", video, "--model", tiny_model, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert any(line.startswith("warning: clip.mkv ") and "cut off" in line for line in result.stderr.splitlines())


@pytest.mark.parametrize("name", ["a\nb.mkv", "[red]x[green].mkv", "-rf.mkv", "\x1b[31mred.mkv", "‮evil.mkv", "\udcff.mkv", ":smile:.mkv"])
def test_hostile_names(tiny_model: Path, video: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    video.rename(name)
    out = Path(f"out {name}")
    result = call("run", "--model", tiny_model, "--out", out, "--frames", 1, "--", name)
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 5 and all(line.isprintable() for line in result.stdout.splitlines())
    shown = name.encode("unicode_escape").decode() if not name.isprintable() else name
    assert f"out {shown}/metrics.json" in result.stdout
    assert json.loads((out / "metrics.json").read_text())["source"] == shown
    Path(name).unlink()
    assert shown in refused(call("run", "--model", tiny_model, "--out", out, "--", name), 2)
    assert shown in refused(call("verify", "--", name), 2)


STUB = """
from autogaze_export import parity
from autogaze_export.parity import ParityReport, TensorReport
good = TensorReport("encode", "vision", [1], 0.0, 1e-3, True)
parity.verify_model = lambda folder, device: ParityReport("torch", "ort", [good])
"""


@pytest.mark.parametrize("command", ["run", "verify", "--version"])
def test_results_that_nobody_reads_are_no_error(command: str, tiny_model: Path, video: Path, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / MANIFEST).write_bytes((tiny_model / MANIFEST).read_bytes())
    words = {"run": ("run", video, "--model", tiny_model, "--out", tmp_path / "out"), "verify": ("verify", checkpoint)}
    line = process(*words.get(command, (command,)), before=STUB if command == "verify" else "")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(line, env=ENVIRONMENT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert done.returncode == 0 and "rror" not in done.stderr, done.stderr


def test_help_and_version_import_nothing_heavy() -> None:
    watch = (
        "import atexit\natexit.register(lambda: print('HEAVY', sorted({'torch', 'onnxruntime', 'numpy', 'av', 'PIL'} & set(sys.modules))))"
    )
    for words, said in [(("--help",), "export"), (("run", "--help"), "whichever comes first"), (("--version",), "autogaze-web ")]:
        done = subprocess.run(process(*words, before=watch), env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and said in done.stdout
        assert done.stdout.endswith("HEAVY []\n")


def test_ctrl_c_leaves_what_was_there(tiny_model: Path, tmp_path: Path) -> None:
    video, out = write(tmp_path / "clip.mkv", noise(10) * 60), tmp_path / "out"
    words = ("run", video, "--model", tiny_model, "--out", out)
    assert call(*words, "--frames", 1).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    running = subprocess.Popen(process(*words), env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(out.glob(".*.partial/trace.json")) and time.monotonic() < until:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    stdout, stderr = running.communicate(timeout=60)
    assert (running.returncode, stdout, stderr) == (130, "", "interrupted\n")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
