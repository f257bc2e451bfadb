"""What the command line refuses: exit codes, and one line that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import onnxruntime
import pytest

from autogaze_web import arguments, render
from autogaze_web.manifest import MANIFEST
from command_line import call, refused
from video_files import cut, noise, write


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
    assert (result.exit_code, result.stdout) == (2, "") and "error: " in result.stderr.lower()


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


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="there is CUDA here")
def test_cuda_that_is_not_there_is_not_run(tiny_model: Path, video: Path, tmp_path: Path) -> None:
    said = refused(call("run", video, "--model", tiny_model, "--out", tmp_path / "out", "--device", "cuda"), 4)
    assert said.startswith("Nothing was run: cuda was asked for")
