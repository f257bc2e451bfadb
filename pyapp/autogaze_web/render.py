"""A video through the pipeline into files: what `autogaze-web run` does (CPython only).

Frames stream: memory does not grow with the length of the video. Files appear in the output folder when the run is complete.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import numpy as np
from PIL import Image, ImageOps

from autogaze_web.colour import Colours
from autogaze_web.errors import NotRunError, SettingsError
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.gif import GifWriter, Pixels, fit_width
from autogaze_web.metrics import RunNumbers
from autogaze_web.model_folder import Model, read_model
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import FrameResult, Gazer, Painter, Panels, SourceFrame, render
from autogaze_web.record import RunRecord, json_text
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.settings import GazeSettings
from autogaze_web.tiles import Tiling
from autogaze_web.trace import TraceWriter
from autogaze_web.video import VideoReader, open_video
from autogaze_web.whole_files import whole_files

STAGES = ("decode", "gaze", "paint", "write")
PANELS = ("input", "mask", "output")
METRICS, TRACE = "metrics.json", "trace.json"
FILES = (METRICS, TRACE, *(f"{panel}.gif" for panel in PANELS))
GIF_WIDTH = 480

Report = Callable[[int, int | None, float], None]  # frames done, frames in all where known, frames gazed at a second


@dataclass(frozen=True)
class Job:
    """One video to render."""

    video: Path
    model: Path
    out: Path
    gaze: GazeSettings = field(default_factory=GazeSettings)
    paint: PaintSettings = field(default_factory=PaintSettings)
    gif_width: int = GIF_WIDTH  # pixels, narrower videos stay as they are; 0: no GIFs
    start: int = 0  # frames to skip
    limit: int | None = None  # frames to render
    device: str = "cpu"
    threads: int = 0  # of the CPU; 0: one a core


@dataclass
class Stages:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += perf_counter() - begin


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    frames: int
    files: list[Path]
    warnings: list[str]
    stages: Stages
    seconds: float  # from the first frame to the last


class TimedGazer(Gazer):
    """A Gazer whose time is taken."""

    def __init__(self, stages: Stages, runtime: NativeRuntime, model: Model, settings: GazeSettings) -> None:
        super().__init__(runtime, model.checkpoint, settings)
        self.stages = stages

    async def gaze(self, frame: SourceFrame) -> FrameGaze:
        with self.stages("gaze"):
            return await super().gaze(frame)


class TimedPainter(Painter):
    """A Painter whose time is taken."""

    def __init__(self, stages: Stages, runtime: NativeRuntime, model: Model, settings: PaintSettings) -> None:
        super().__init__(runtime, model.checkpoint.config.layout, settings)
        self.stages = stages

    async def paint(self, frame: SourceFrame, tiling: Tiling, gaze: FrameGaze) -> Panels:
        with self.stages("paint"):
            return await super().paint(frame, tiling, gaze)


class RunFiles:
    """The files of a run while it goes on."""

    def __init__(self, folder: Path, record: RunRecord, gif_width: int, runtime: NativeRuntime, stack: ExitStack) -> None:
        """stack: closes what is opened here."""
        self.folder, self.record, self.gif_width, self.runtime, self.stack = folder, record, gif_width, runtime, stack
        self.numbers = RunNumbers(record.layout.grids)
        self.first: Tiling | None = None
        self.latest: Tiling | None = None
        self.size_changes = 0
        self.warnings: list[str] = []
        self.gifs: dict[str, GifWriter] = {}
        self.gif_size = (0, 0)

    def add(self, result: FrameResult) -> None:
        """Write down one frame."""
        if self.first is None:
            self._begin(result)
        if self.latest != result.tiling:
            self._note_size(result)
        gaze = self.record.told(result.gaze, result.tiling)
        self.trace.add(result.frame.index, result.frame.time_s, result.window, gaze, self.record.tiling(result.tiling))
        self.numbers.add(result.panels.numbers, result.tokens_by_scale)
        if self.gif_width:
            for panel, pixels in self._pictures(result).items():
                self.gifs[panel].add(fit_size(pixels, self.gif_size))

    def finish(self, warnings: list[str], timing: dict[str, float]) -> list[str]:
        """Complete the trace and write the metrics; -> the names of all files."""
        assert self.first is not None
        self.trace.close()
        names = [METRICS, TRACE, *(f"{panel}.gif" for panel in self.gifs)]
        closing = {"size_changes": self.size_changes, "output_files": names, "warnings": warnings, "timing": timing}
        metrics = json_text(self.record.metrics(self.first, self.numbers) | closing)
        (self.folder / METRICS).write_text(metrics, encoding="utf-8")
        return names

    def _begin(self, result: FrameResult) -> None:
        self.first = self.latest = result.tiling
        sink = self.stack.enter_context((self.folder / TRACE).open("w", encoding="utf-8"))
        self.trace = TraceWriter(sink, self.record.trace_head(result.tiling))
        if self.gif_width:
            self.gif_size = fitted(result.tiling.width, result.tiling.height, self.gif_width)
            for panel in PANELS:
                writer = GifWriter(self.folder / f"{panel}.gif", *self.gif_size, self.record.fps)
                self.gifs[panel] = self.stack.enter_context(writer)

    def _note_size(self, result: FrameResult) -> None:
        old, new = self.latest, result.tiling
        assert old is not None
        if not self.size_changes:
            self.warnings.append(
                f"The picture changes its size in mid-video: {old.width}×{old.height} becomes {new.width}×{new.height} at frame"
                f" {result.frame.index}. A new window and a new canvas begin there; the GIFs keep the first size."
            )
        self.size_changes += 1
        self.latest = new

    def _pictures(self, result: FrameResult) -> dict[str, Pixels]:
        tensors = (result.frame.pixels, result.panels.mask, result.panels.output)
        pictures = {panel: self.runtime.numpy(tensor) for panel, tensor in zip(PANELS, tensors, strict=True)}
        seen_through = "mask" if self.record.paint.mask_mode == "image-mask-only" else None  # every other picture is opaque
        return {panel: pixels if panel == seen_through else pixels[..., :3] for panel, pixels in pictures.items()}


def render_video(job: Job, report: Report = lambda done, total, fps: None) -> Outcome:
    """Render a whole video; report is called before the first frame and after each. Raises AutoGazeError, OSError (the disk)."""
    with open_video(job.video) as reader:
        check_apart(job)
        model = read_model(job.model)
        runtime = open_runtime(model, job.device, job.threads)
        stages = Stages()
        gazer, painter = TimedGazer(stages, runtime, model, job.gaze), TimedPainter(stages, runtime, model, job.paint)
        record = record_of(reader, model, runtime, job)
        with whole_files(job.out, FILES) as folder, ExitStack() as stack:
            files = RunFiles(folder, record, job.gif_width, runtime, stack)
            frames, total = read_frames(reader, runtime, stages, job), frames_expected(reader, job)
            report(0, total, 0.0)
            begin = perf_counter()
            run_to_end(render_frames(frames, gazer, painter, files, stages, lambda done, fps: report(done, total, fps)))
            seconds = perf_counter() - begin
            if files.first is None:
                raise SettingsError(
                    f"There is no frame to render: start is {job.start}, and {reader.info.name} has no more frames than that."
                )
            warnings = [*reader.warnings, *files.warnings]
            names = files.finish(warnings, timing(files.numbers.frames, stages, seconds))
    return Outcome(files.numbers.frames, [job.out / name for name in names], warnings, stages, seconds)


def check_apart(job: Job) -> None:
    """The video is none of the files that a run replaces or removes."""
    for path in (job.out / name for name in FILES):
        if path.exists() and path.samefile(job.video):
            raise SettingsError(f"{job.video.name} is in the folder for the results, where {path.name} is replaced. Name another folder.")


def record_of(reader: VideoReader, model: Model, runtime: NativeRuntime, job: Job) -> RunRecord:
    """What is known before the first frame; SettingsError for target scales that the model cannot look at."""
    info, checkpoint = reader.info, model.checkpoint
    record = RunRecord(
        info.name, info.fps, model.name, checkpoint.sha256, checkpoint.config, job.gaze, job.paint, runtime.backend, versions()
    )
    assert record.layout
    return record


async def render_frames(
    frames: AsyncGenerator[SourceFrame, None],
    gazer: Gazer,
    painter: Painter,
    files: RunFiles,
    stages: Stages,
    report: Callable[[int, float], None] = lambda done, fps: None,
) -> None:
    """Take every frame through the pipeline into the files; report: frames done, frames gazed at a second."""
    try:
        async with aclosing(render(frames, gazer, painter)) as results:
            async for result in results:
                try:
                    with stages("write"):
                        files.add(result)
                finally:
                    files.runtime.release([result.panels.mask, result.panels.output])
                report(files.numbers.frames, files.numbers.frames / stages.seconds["gaze"])
    finally:
        gazer.release()
        painter.release()


async def read_frames(reader: VideoReader, runtime: NativeRuntime, stages: Stages, job: Job) -> AsyncGenerator[SourceFrame, None]:
    """The frames of a video, in the runtime; each is released when the next is asked for, or at the end."""
    frames, colours = reader.frames(job.limit, job.start), Colours(runtime)
    try:
        while True:
            with stages("decode"):
                frame = next(frames, None)
                if frame is None:
                    return
                source = await colours.frame(frame.stored.handed(frame.index, frame.time_s, runtime.adopt))
            try:
                yield source
            finally:
                runtime.release([source.pixels])
    finally:
        colours.release()


def run_to_end(work: Coroutine[object, object, None]) -> None:
    """Run a coroutine. asyncio.run would hold Ctrl-C back until the work awaits something slow, and nothing here does."""
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def open_runtime(model: Model, device: str, threads: int) -> NativeRuntime:
    """The runtime on a device; NotRunError where there is no such device, whether ONNX Runtime or the machine lacks it."""
    if device == "cpu":
        return NativeRuntime(model, device, threads)
    try:
        runtime = NativeRuntime(model, device, threads)
        runtime.zeros("float32", (1,))
    except Exception as error:
        raise NotRunError(f"Nothing was run: {device} was asked for and is not there. {error}") from error
    return runtime


def frames_expected(reader: VideoReader, job: Job) -> int | None:
    """As many as the file announces, or about as many as its length tells; None: it says neither."""
    info = reader.info
    total = info.frames if info.frames is not None else round(info.duration_s * info.fps) if info.duration_s else None
    if total is None:
        return job.limit
    left = max(total - job.start, 0)
    return left if job.limit is None else min(left, job.limit)


def timing(frames: int, stages: Stages, seconds: float) -> dict[str, float]:
    """Where the time went, for metrics.json."""
    by_stage = {f"{stage}_s": round(spent, 4) for stage, spent in stages.seconds.items()}
    return {
        **by_stage,
        "total_s": round(seconds, 4),
        "fps": round(frames / seconds, 3),
        "gaze_fps": round(frames / stages.seconds["gaze"], 3),
    }


def versions() -> dict[str, str]:
    """Of what computes here."""
    found = {"python": platform.python_version()}
    for package in ("autogaze-web", "onnxruntime", "onnxruntime-gpu", "numpy", "av", "pillow"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def fitted(width: int, height: int, most: int) -> tuple[int, int]:
    """The size of a picture that is to be at most so wide, as gif.fit_width makes it."""
    return (width, height) if width <= most else (most, max(1, round(height * most / width)))


def fit_size(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture of exactly this size (width, height): scaled as fit_width does; one of another shape gets bars, black or transparent."""
    width, height = size
    scaled = fit_width(pixels, width)
    if scaled.shape[:2] == (height, width):
        return scaled
    return np.array(ImageOps.pad(Image.fromarray(pixels), size, Image.Resampling.BILINEAR, color=(0,) * pixels.shape[2]), dtype=np.uint8)
