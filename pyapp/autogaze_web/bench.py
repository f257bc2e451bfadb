"""How long each stage takes: the pipeline over a clip again and again, on any runtime.

Two passes a lane. One as a person runs it: seconds a frame, end to end. One that waits for the device after every graph: seconds by graph,
which adds the waiting, so that its sum is more than the first pass' time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from time import perf_counter

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.colour import Colours, Picture
from autogaze_web.gate.cases import Clip
from autogaze_web.gate.play import pictures
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import Gazer, Painter, SourceFrame, gazed
from autogaze_web.runtime import HostTensor, Limits, Loop, Runtime, Tensor
from autogaze_web.settings import GazeSettings

Sync = Callable[[], Awaitable[None]]  # returns when the device has done all it was given


@dataclass(frozen=True)
class BenchLane:
    """What is run."""

    name: str
    width: int  # pixels
    height: int
    frames: int  # that are timed, after one window that is not
    gaze: GazeSettings
    paint: bool = True


@dataclass
class LaneTimes:
    """What it took; seconds a frame."""

    lane: str
    tiles: int
    frames: int
    seconds: float = 0.0  # end to end
    blocks: float = 0.0  # runs of step a frame, in tile batches
    tokens: float = 0.0  # valid, a tile
    stages: dict[str, float] = field(default_factory=dict)  # by graph, waiting after each
    first_frame_s: float = 0.0  # of a fresh runtime: sessions are made and shaders compiled

    def to_json(self) -> dict[str, object]:
        return asdict(self)


class Timed:
    """A Runtime whose graphs are timed one by one."""

    def __init__(self, runtime: Runtime, sync: Sync) -> None:
        self.runtime, self.sync, self.seconds, self.runs = runtime, sync, dict[str, float](), 0

    @property
    def backend(self) -> str:
        return self.runtime.backend

    @property
    def limits(self) -> Limits:
        return self.runtime.limits

    def upload(self, tensor: HostTensor) -> Tensor:
        return self.runtime.upload(tensor)

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        return self.runtime.zeros(dtype, shape)

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        begin = perf_counter()
        outputs = await self.runtime.run(graph, feeds)
        await self.sync()
        self.add(graph, begin)
        return outputs

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        begin = perf_counter()
        ended = await self.runtime.loop(first, then, feeds, state, collect, flag, 1)  # a frame's first block alone, then the others
        self.add(first, begin)
        self.runs += 1
        if limit > 1 and not ended.collected[0][flag].data[0]:
            begin = perf_counter()
            rest = await self.runtime.loop(then, then, feeds, ended.state, collect, flag, limit - 1)
            self.add("step_next" if first == "step_first" else then, begin)
            self.runs += len(rest.collected)
            return Loop(rest.state, ended.collected + rest.collected)
        return ended

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        begin = perf_counter()
        found = await self.runtime.read(tensors)
        self.add("read", begin)
        return found

    def release(self, tensors: Sequence[Tensor]) -> None:
        self.runtime.release(tensors)

    def add(self, name: str, begin: float) -> None:
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - begin


async def bench(lane: BenchLane, runtime: Runtime, checkpoint: Checkpoint, clip: Sequence[bytes], size: Clip, sync: Sync) -> LaneTimes:
    """Time a lane; clip: frames of `size`, which are enlarged to the lane's and shown again and again."""
    frames = [enlarged(frame, size, lane.width, lane.height) for frame in clip]
    times = LaneTimes(lane.name, 0, lane.frames)
    await one_pass(lane, runtime, checkpoint, frames, sync, times)
    timed = Timed(runtime, sync)
    window = lane.gaze.frames_each_window(checkpoint.config)
    await one_pass(lane, timed, checkpoint, frames, sync, LaneTimes(lane.name, 0, window), warm=False)
    times.stages = {name: seconds / window for name, seconds in timed.seconds.items()}
    times.blocks = timed.runs / window
    return times


async def one_pass(
    lane: BenchLane, runtime: Runtime, checkpoint: Checkpoint, frames: Sequence[bytes], sync: Sync, times: LaneTimes, warm: bool = True
) -> None:
    """Run times.frames frames as the page does; before them, where warm, a window that is not counted."""
    gazer, painter = Gazer(runtime, checkpoint, lane.gaze), Painter(runtime, checkpoint.config.layout, PaintSettings())
    colours = Colours(runtime)
    uncounted = gazer.frames if warm else 0
    begin = start = perf_counter()
    tokens = 0

    async def coloured() -> AsyncGenerator[SourceFrame, None]:
        async for picture in endless(lane, frames, runtime, uncounted + times.frames):
            yield await colours.frame(picture)

    try:
        async with aclosing(gazed(coloured(), gazer)) as items:
            async for item in items:
                frame, tiling = item.frame, item.seen.size.tiling
                try:
                    if lane.paint:
                        panels = await painter.paint(frame, tiling, item.gaze)
                        runtime.release([panels.mask, panels.output])
                finally:
                    runtime.release([frame.pixels])
                if frame.index == 0:
                    await sync()
                    times.first_frame_s = perf_counter() - begin
                if frame.index == uncounted - 1:
                    start = perf_counter()
                if frame.index >= uncounted:
                    times.tiles = tiling.tiles
                    tokens += sum(len(item.gaze.cells(tile)) for tile in range(times.tiles))
        await sync()
        times.seconds = (perf_counter() - start) / times.frames
        times.tokens = tokens / times.frames / max(times.tiles, 1)
    finally:
        gazer.release()
        painter.release()
        colours.release()


async def endless(lane: BenchLane, frames: Sequence[bytes], runtime: Runtime, count: int) -> AsyncGenerator[Picture, None]:
    size = Clip(0, 1, lane.width, lane.height)
    for index in range(count):
        async for picture in pictures(size, [frames[index % len(frames)]], runtime):
            yield Picture(index, index / 24, *(picture.width, picture.height), "I420", "bt709", False, False, False, False, picture.planes)


def enlarged(frame: bytes, size: Clip, width: int, height: int) -> bytes:
    """I420 planes of another size, by repeating pixels; sizes even."""
    planes, place = [], 0
    for down in (1, 2, 2):
        w, h, wide, high = size.width // down, size.height // down, width // down, height // down
        columns = [x * w // wide for x in range(wide)]
        rows = [bytes([frame[place + y * w + x] for x in columns]) for y in range(h)]
        planes += [rows[y * h // high] for y in range(high)]
        place += w * h
    return b"".join(planes)


def lanes(which: str) -> list[BenchLane]:
    """The lanes of a benchmark: "quick", "gpu" or "wasm"."""
    ten, forty = GazeSettings(max_gaze_tokens_each_frame=10), GazeSettings(max_gaze_tokens_each_frame=40)
    tiled = {"mode": "tiled"}
    ten_tiled, forty_tiled = GazeSettings(**tiled, max_gaze_tokens_each_frame=10), GazeSettings(**tiled, max_gaze_tokens_each_frame=40)  # type: ignore[arg-type]
    ragged = GazeSettings(mode="tiled")
    everything = {
        "one tile, 10 tokens": BenchLane("one tile, 10 tokens", 640, 360, 32, ten, paint=False),
        "one tile, 40 tokens": BenchLane("one tile, 40 tokens", 640, 360, 32, forty, paint=False),
        "resize 360p": BenchLane("resize 360p", 640, 360, 32, GazeSettings()),
        "45 tiles, 10 tokens": BenchLane("45 tiles, 10 tokens", 1920, 1080, 16, ten_tiled, paint=False),
        "45 tiles, 40 tokens": BenchLane("45 tiles, 40 tokens", 1920, 1080, 16, forty_tiled, paint=False),
        "720p tiled": BenchLane("720p tiled", 1280, 720, 32, ragged),
        "1080p tiled": BenchLane("1080p tiled", 1920, 1080, 32, ragged),
        "4K tiled": BenchLane("4K tiled", 3840, 2160, 16, ragged),
    }
    chosen = {
        "quick": ["one tile, 10 tokens", "resize 360p"],
        "wasm": ["one tile, 10 tokens", "one tile, 40 tokens", "resize 360p"],
        "gpu": list(everything),
    }
    return [everything[name] for name in chosen[which]]
