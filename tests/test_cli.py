"""cli.py as a person meets it: exit codes, one-line errors, stdout for data only, hostile names, Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import onnxruntime
import pytest
from typer.testing import CliRunner, Result

from autogaze_export import onnx_export, parity
from autogaze_export.parity import ParityReport, TensorReport
from autogaze_web import arguments, cli, render
from autogaze_web.checkpoint import Checkpoint
from autogaze_web.manifest import MANIFEST
from tiny_checkpoint import tiny_files
from video_files import cut, noise, write

ALL = ["metrics.json", "trace.json", "input.gif", "mask.gif", "output.gif"]


def call(*words: object, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words], env=env)


def refused(result: Result, code: int) -> str:
    """The one line of an error, without "error: "."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and line.isprintable()
    return line.removeprefix("error: ")


def process(*words: object, before: str = "") -> list[str]:
    """The command line of a process of its own; `before`: Python to run first."""
    return [sys.executable, "-c", f"import sys\n{before}\nfrom autogaze_web.cli import main\nmain()", *(str(word) for word in words)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write(tmp_path / "clip.mkv", noise(5))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name, content in tiny_files().items():
        (folder / name).write_bytes(content)
    return folder


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--mode big", "mode is 'big'; choose one of resize, tiled."),
        ("--window long", "choose one of chunk16, rolling"),
        ("--mask-mode x", "mask_mode is 'x'"),
        ("--device tpu", "device is 'tpu'; choose one of cpu, cuda."),
        ("--gazing-ratio abc", "gazing_ratio is 'abc'"),
        ("--gazing-ratio 0.1,0.2", "lists 2 values; a window has 4 frames"),
        ("--gazing-ratio nan", "gazing_ratio is nan"),
        ("--gazing-ratio 0.1 --max-gaze-tokens 3", "give one of them"),
        ("--task-loss nan", "finite"),
        ("--task-loss 1 --task-loss-db 1", "give one of them"),
        ("--task-loss-db -99999", "from -200 to 200"),
        ("--clip-len 5", "4 frames at most"),
        ("--target-scales 64", "cannot be looked at by this model"),
        ("--target-scales 64x128", "target_scales is '64x128'"),
        ("--target-scales 64+128 --mode tiled", "give one of them"),
        ("--target-scales 64+128 --target-patch-size 8", "patches of 16"),
        ("--alpha 2", "blend_alpha is 2.0; it goes from 0 to 1."),
        ("--cell-scale nan", "mask_cell_scale is nan"),
        ("--start 5", "start is 5, and clip.mkv has no more frames"),
    ],
)
def test_settings_that_make_no_sense(tiny_model: Path, video: Path, tmp_path: Path, options: str, said: str) -> None:
    result = call("run", video, "--model", tiny_model, "--out", tmp_path / "out", *options.split())
    assert said in refused(result, 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        *("run clip.mkv", "run", "fly", "export a", "verify"),
        *("run a --out b --frames 0", "run a --out b --alpha x", f"run a --out b --start {10**20}", f"run a --out b --frames {10**20}"),
        *("run a --out b --threads -1", "run a --out b --threads 257", "run a --out=", "run a --out "),
    ],
)
def test_usage(words: str) -> None:
    result = call(*words.split(" "))
    assert (result.exit_code, result.stdout) == (2, "") and "Error: " in result.stderr


def test_results_need_a_place(video: Path, checkpoint: Path, tmp_path: Path) -> None:
    result = call("export", checkpoint, "")
    assert result.exit_code == 2 and "no folder is named" in result.stderr
    for out in ("/proc/x", tmp_path / "made" / ("x" * 300)):
        for words in (("run", video, "--out", out), ("export", checkpoint, out)):
            assert refused(call(*words), 2).startswith(f"Nothing can be written to {out}: ")
    assert "clip.mkv/x is a file or in one" in refused(call("run", video, "--out", video / "x"), 2)
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mkv", "checkpoint"}


def test_missing_things(tiny_model: Path, video: Path, checkpoint: Path, tmp_path: Path) -> None:
    out, here, nothing = tmp_path / "out", ("--model", tiny_model), tmp_path / "nothing"
    assert "There is no file nothing." in refused(call("run", nothing, "--out", out, *here), 2)
    assert "is a folder, not a video" in refused(call("run", tmp_path, "--out", out, *here), 2)
    assert "nothing does not exist" in refused(call("run", video, "--out", out, "--model", nothing), 2)
    assert "lacks autogaze.json" in refused(call("run", video, "--out", out, "--model", checkpoint), 2)
    assert "clip.mkv is a file" in refused(call("run", video, "--out", video, *here), 2)
    assert "nothing does not exist" in refused(call("export", nothing, out), 2)
    assert "clip.mkv is a file, not a folder" in refused(call("export", video, out), 2)
    assert "clip.mkv is a file" in refused(call("export", checkpoint, video), 2)
    assert "nothing does not exist" in refused(call("verify", nothing), 2)
    (checkpoint / "model.safetensors").unlink()
    assert "lacks model.safetensors" in refused(call("export", checkpoint, out), 2)
    assert not out.exists()


def test_a_copy_without_its_built_in_model_says_how_to_get_one(
    video: Path, tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "__file__", str(tmp_path / "pyapp" / "autogaze_web" / "arguments.py"))
    said = refused(call("run", video, "--out", tmp_path / "out"), 2)
    assert "no built-in model" in said and "autogaze-web export CHECKPOINT" in said
    (tmp_path / "web" / "models").mkdir(parents=True)
    (tmp_path / "web" / "models" / "default").symlink_to(tiny_model)
    assert call("run", video, "--out", tmp_path / "out").exit_code == 0


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=800)
        frame.sample_rate = 8000
        container.mux([*stream.encode(frame), *stream.encode()])
    return path


def text(path: Path) -> Path:
    path.write_text("This is no video.\n" * 50)
    return path


def cut_mp4(path: Path) -> Path:
    return cut(write(path.with_suffix(".mp4"), noise(8), "libx264 yuv420p"), 0.5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (sound_only, "has no video track, only audio"),
        (text, "is not a video"),
        (cut_mp4, "probably cut off"),
    ],
)
def test_files_that_are_no_video(tiny_model: Path, tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    result = call("run", make(tmp_path / "clip.wav"), "--model", tiny_model, "--out", tmp_path / "out")
    assert said in refused(result, 1)
    assert not (tmp_path / "out").exists()


def test_warnings_are_shown_at_the_end(tiny_model: Path, tmp_path: Path) -> None:
    video = cut(write(tmp_path / "clip.mkv", noise(12)), 0.6)
    result = call("run", video, "--model", tiny_model, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert any(line.startswith("warning: clip.mkv ") and "cut off" in line for line in result.stderr.splitlines())


def test_damaged_models(tiny_model: Path, video: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in tiny_model.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "encode.onnx").write_bytes(b"no graph")
    said = refused(call("run", video, "--model", damaged, "--out", tmp_path / "out"), 1)
    assert "encode.onnx" in said and "export the checkpoint again" in said
    manifest = json.loads((tiny_model / MANIFEST).read_text())
    del manifest["graphs"]["grow"]
    (damaged / MANIFEST).write_text(json.dumps(manifest))
    assert "lists no graph grow; export" in refused(call("run", video, "--model", damaged, "--out", tmp_path / "out"), 1)
    (damaged / MANIFEST).write_text("{")
    assert MANIFEST in refused(call("verify", damaged), 1)


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


def test_unexpected_errors_are_one_line_unless_asked(
    tiny_model: Path, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(render, "render_video", fail)
    words = ("run", video, "--model", tiny_model, "--out", tmp_path / "out")
    assert refused(call(*words), 1).startswith(r"ZeroDivisionError: division\nby zero")
    for result in (call("--traceback", *words), call(*words, env={"AUTOGAZE_TRACEBACK": "1"})):
        assert result.exit_code == 1 and "Traceback (most recent call last)" in result.stderr


def test_disk_errors_are_one_line(tiny_model: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "output.gif").mkdir(parents=True)
    assert "output.gif" in refused(call("run", video, "--model", tiny_model, "--out", out), 1)


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
    assert "[1/11] encode" in result.stderr
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


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA here")
def test_cuda_that_is_not_there_is_not_run(tiny_model: Path, video: Path, tmp_path: Path) -> None:
    said = refused(call("run", video, "--model", tiny_model, "--out", tmp_path / "out", "--device", "cuda"), 4)
    assert said.startswith("Nothing was run: cuda was asked for")


@pytest.mark.parametrize("command", ["export", "verify"])
def test_without_torch_nothing_is_run(command: str, checkpoint: Path, tiny_model: Path, tmp_path: Path) -> None:
    words = ("export", checkpoint, tmp_path / "out") if command == "export" else ("verify", tiny_model)
    done = subprocess.run(
        process(*words, before="sys.modules['torch'] = None"), env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == 'error: Nothing was done: torch is not installed. Run: pip install "autogaze-web[export]"\n'


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
