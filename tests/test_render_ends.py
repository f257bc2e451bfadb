"""render.py when a run ends early or goes wrong: files are whole or as they were, and everything is given back."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

import pytest

from autogaze_web.errors import MissingError, NotRunError, SettingsError, VideoError
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.model_folder import read_model
from autogaze_web.pipeline import FrameResult, SourceFrame
from autogaze_web.render import Job, Stages, read_frames, render_frames, render_video
from autogaze_web.runtime import Tensor
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.video import open_video
from autogaze_web.whole_files import write_whole
from rendered import ALL, FEW, made_up, opened_run
from strict_runtime import Strict
from video_files import noise, write


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, VideoError])
def test_a_run_that_ends_early_changes_nothing(tiny_model: Path, tmp_path: Path, error: type[BaseException]) -> None:
    video, out = write(tmp_path / "clip.mkv", noise(5)), tmp_path / "out"
    render_video(Job(video, tiny_model, out, FEW))
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def stop(done: int, total: int | None, fps: float) -> None:
        if done == 2:
            raise error

    with pytest.raises(error):
        render_video(Job(video, tiny_model, out, FEW, start=1), stop)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(error):
        render_video(Job(video, tiny_model, tmp_path / "a" / "new", FEW, start=1), stop)
    assert not (tmp_path / "a" / "new").exists()


def test_files_of_an_earlier_run_go(tiny_model: Path, tmp_path: Path) -> None:
    video, out = write(tmp_path / "clip.mkv", noise(1)), tmp_path / "out"
    render_video(Job(video, tiny_model, out, FEW))
    (out / "mine.gif").write_text("stays")
    with pytest.raises(SettingsError, match="no more frames"):
        render_video(Job(video, tiny_model, out, FEW, gif_width=0, start=1))
    assert {path.name for path in out.iterdir()} == {*ALL, "mine.gif"}
    render_video(Job(video, tiny_model, out, FEW, gif_width=0))
    assert {path.name for path in out.iterdir()} == {"metrics.json", "trace.json", "mine.gif"}


def test_the_video_is_no_file_of_an_earlier_run(tiny_model: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "clip.mkv", noise(1)).rename(tmp_path / "output.gif")
    before = video.read_bytes()
    for gif_width in (0, 100):
        with pytest.raises(SettingsError, match=r"output\.gif is in the folder for the results"):
            render_video(Job(video, tiny_model, tmp_path, FEW, gif_width=gif_width))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_frames_are_released_one_by_one_and_when_reading_ends_early(tiny_model: Path, tmp_path: Path) -> None:
    runtime, live = Strict(read_model(tiny_model)), []
    with open_video(write(tmp_path / "clip.mkv", noise(3), "ffv1 yuv420p")) as reader:

        async def read() -> None:
            frames = read_frames(reader, cast(NativeRuntime, runtime), Stages(), Job(tmp_path, tmp_path, tmp_path))
            for _ in range(2):
                assert id((await anext(frames)).pixels) in runtime.live
                live.append(len(runtime.live))
            await frames.aclose()

        asyncio.run(read())
    assert live[0] == live[1]
    assert not runtime.live


@pytest.mark.parametrize("part", ["gaze", "files"])
def test_an_error_in_mid_run_gives_everything_back(tiny_model: Path, tmp_path: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def frames() -> AsyncGenerator[SourceFrame, None]:
        try:
            async for frame in made_up(runtime, [(64, 48)] * 3):
                yield frame
        finally:
            given_back.append("frames")

    async def fail_to_gaze(frame: SourceFrame) -> FrameGaze:
        raise KeyboardInterrupt

    def fail_to_write(result: FrameResult) -> None:
        panels.extend([result.panels.mask, result.panels.output])
        raise KeyboardInterrupt

    given_back: list[str] = []
    panels: list[Tensor] = []
    released: list[Tensor] = []
    stages = Stages()
    with pytest.raises(KeyboardInterrupt), opened_run(tiny_model, tmp_path / "out", stages) as (runtime, gazer, painter, files):
        monkeypatch.setattr(runtime, "release", released.extend)
        monkeypatch.setattr(gazer, "release", lambda: given_back.append("gazer"))
        monkeypatch.setattr(painter, "release", lambda: given_back.append("painter"))
        monkeypatch.setattr(*((gazer, "gaze", fail_to_gaze) if part == "gaze" else (files, "add", fail_to_write)))
        asyncio.run(render_frames(frames(), gazer, painter, files, stages))
    assert set(given_back) == {"frames", "gazer", "painter"}
    assert len(panels) == (0 if part == "gaze" else 2)
    assert all(any(panel is tensor for tensor in released) for panel in panels)


def test_one_whole_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", "1\n")
    write_whole(tmp_path / "a.json", "2\n")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.json", "2\n")]


def test_memory_does_not_grow_with_length(tiny_model: Path, tmp_path: Path) -> None:
    video = write(tmp_path / "clip.mkv", noise(5, 160, 120) * 5)

    def peak(limit: int) -> int:
        tracemalloc.start()
        render_video(Job(video, tiny_model, tmp_path / "out", FEW, limit=limit))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(25) < peak(5) + 160 * 120 * 4, "twenty more frames cost less than the pixels of one"


def test_a_device_that_is_not_there_is_not_run(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(NotRunError, match=r"cuda was asked for and is not there.*CUDAExecutionProvider"):
        render_video(Job(write(tmp_path / "clip.mkv", noise(1)), tiny_model, tmp_path / "out", FEW, device="cuda"))
    assert not (tmp_path / "out").exists()
    assert not issubclass(NotRunError, MissingError)
