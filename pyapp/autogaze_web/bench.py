"""How long each stage takes: the pipeline over a clip again and again, on any runtime.

Two passes a lane. One as a person runs it: seconds a frame, end to end. One that waits for the device after every graph: seconds by graph,
which adds the waiting, so that its sum is more than the first pass' time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from time import perf_counter
from zlib import crc32

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.colour import Colours, Picture
from autogaze_web.gate.cases import Clip
from autogaze_web.gate.play import pictures
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import Gazed, Gazer, Painter, SourceFrame, gazed
from autogaze_web.runtime import HostTensor, Limits, Loop, Runtime, Tensor
from autogaze_web.settings import GazeSettings

# Returns when the device has done all it was given: how many dispatches that were since the start. Takes the graph that was run, or "".
Sync = Callable[[str], Awaitable[int]]
Bytes = Callable[[], int]  # of memory that is held


RAGGED = 0.3  # task loss that some tiles reach early and others never, within the budget


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
    dispatches: dict[str, float] = field(default_factory=dict)  # by graph
    window_seconds: list[float] = field(default_factory=list)  # of each window, end to end
    window_bytes: list[int] = field(default_factory=list)  # device memory held at the end of each
    window_heap: list[int] = field(default_factory=list)  # and memory of the worker
    window_ids: list[str] = field(default_factory=list)  # CRC-32 of the ids that each chose, the window that is not timed included
    agrees: bool = False  # whether the first window chose the same ids without looking ahead
    first_frame_s: float = 0.0  # of a fresh runtime: sessions are made and shaders compiled

    def to_json(self) -> dict[str, object]:
        return asdict(self)


class Timed:
    """A Runtime whose graphs are timed one by one, and whose dispatches are counted."""

    def __init__(self, runtime: Runtime, sync: Sync) -> None:
        self.runtime, self.sync, self.runs = runtime, sync, 0
        self.seconds, self.dispatches = dict[str, float](), dict[str, int]()
        self.done = 0  # dispatches

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
        await self.add(graph, begin)
        return outputs

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        begin = perf_counter()
        ended = await self.runtime.loop(first, then, feeds, state, collect, flag, 1)  # a frame's first block alone, then the others
        await self.add(first, begin)
        self.runs += 1
        if limit > 1 and not ended.collected[0][flag].data[0]:
            begin = perf_counter()
            rest = await self.runtime.loop(then, then, feeds, ended.state, collect, flag, limit - 1)
            await self.add(then, begin)
            self.runs += len(rest.collected)
            return Loop(rest.state, ended.collected + rest.collected)
        return ended

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        begin = perf_counter()
        found = await self.runtime.read(tensors)
        await self.add("read", begin)
        return found

    def release(self, tensors: Sequence[Tensor]) -> None:
        self.runtime.release(tensors)

    async def add(self, name: str, begin: float) -> None:
        """What was run since `begin` ends here."""
        before, self.done = self.done, await self.sync(name)
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - begin
        self.dispatches[name] = self.dispatches.get(name, 0) + self.done - before


async def bench(
    lane: BenchLane, runtime: Runtime, checkpoint: Checkpoint, clip: Sequence[bytes], size: Clip, sync: Sync, held: Bytes, heap: Bytes
) -> LaneTimes:
    """Time a lane; clip: frames of `size`, which are enlarged to the lane's and shown again and again."""
    frames = [enlarged(frame, size, lane.width, lane.height) for frame in clip]
    times = LaneTimes(lane.name, 0, lane.frames)
    await one_pass(lane, runtime, checkpoint, frames, sync, (held, heap), times)
    timed = Timed(runtime, sync)
    timed.done = await sync("")
    window = lane.gaze.frames_each_window(checkpoint.config)
    plain = LaneTimes(lane.name, 0, window)
    await one_pass(lane, timed, checkpoint, frames, sync, (held, heap), plain, ahead=False)
    times.agrees = times.window_ids[:1] == plain.window_ids
    times.stages = {name: seconds / window for name, seconds in timed.seconds.items()}
    times.dispatches = {name: count / window for name, count in timed.dispatches.items()}
    times.blocks = timed.runs / window
    return times


async def one_pass(
    lane: BenchLane, runtime: Runtime, checkpoint: Checkpoint, frames: Sequence[bytes], sync: Sync, held: tuple[Bytes, Bytes],
    times: LaneTimes, ahead: bool = True,
) -> None:  # fmt: skip
    """Run times.frames frames; `ahead`: as the page does, and a window before them that is not counted; else one after the other."""
    gazer, painter = Gazer(runtime, checkpoint, lane.gaze), Painter(runtime, checkpoint.config.layout, PaintSettings())
    colours = Colours(runtime)
    uncounted = gazer.frames if ahead else 0
    begin = start = window_start = perf_counter()
    tokens = digest = 0
    sources = coloured(lane, frames, runtime, colours, uncounted + times.frames)
    try:
        async with aclosing(gazed(sources, gazer) if ahead else one_by_one(sources, gazer)) as items:
            async for item in items:
                frame, tiling = item.frame, item.seen.size.tiling
                try:
                    if lane.paint:
                        panels = await painter.paint(frame, tiling, item.gaze)
                        runtime.release([panels.mask, panels.output])
                finally:
                    runtime.release([frame.pixels])
                if frame.index == 0:
                    await sync("")
                    times.first_frame_s = perf_counter() - begin
                if frame.index == uncounted - 1:
                    start = window_start = perf_counter()
                times.tiles = tiling.tiles
                cells = [item.gaze.cells(tile) for tile in range(times.tiles)]
                digest = crc32(repr(cells).encode(), digest)
                if frame.index >= uncounted:
                    tokens += sum(map(len, cells))
                if (frame.index + 1) % gazer.frames == 0:
                    times.window_ids.append(f"{digest:08x}")
                    digest = 0
                    if frame.index >= uncounted:
                        times.window_seconds.append(perf_counter() - window_start)
                        times.window_bytes.append(held[0]())
                        times.window_heap.append(held[1]())
                        window_start = perf_counter()
        await sync("")
        times.seconds = (perf_counter() - start) / times.frames
        times.tokens = tokens / times.frames / max(times.tiles, 1)
    finally:
        gazer.release()
        painter.release()
        colours.release()


async def one_by_one(frames: AsyncGenerator[SourceFrame, None], gazer: Gazer) -> AsyncGenerator[Gazed, None]:
    """As gazed, without looking ahead."""
    async with aclosing(frames):
        async for frame in frames:
            seen = await gazer.see(frame)
            await gazer.begin_with(seen)
            yield Gazed(frame, seen, await gazer.choose(seen), 0.0, 0.0)


async def coloured(
    lane: BenchLane, frames: Sequence[bytes], runtime: Runtime, colours: Colours, count: int
) -> AsyncGenerator[SourceFrame, None]:
    async with aclosing(endless(lane, frames, runtime, count)) as made:
        async for picture in made:
            yield await colours.frame(picture)


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
        pick = itemgetter(*(x * w // wide for x in range(wide)))
        rows = [bytes(pick(frame[place + y * w : place + (y + 1) * w])) for y in range(h)]
        planes += [rows[y * h // high] for y in range(high)]
        place += w * h
    return b"".join(planes)


def lanes(which: str, tile_batch: int = 0) -> list[BenchLane]:
    """The lanes of a benchmark: "quick", "gpu", "wasm", "headline", "compare" (of builds), "long", "dispatches" (software adapters)."""

    def tokens(count: int, mode: str) -> GazeSettings:
        return GazeSettings(mode=mode, max_gaze_tokens_each_frame=count)

    tiled, ragged = GazeSettings(mode="tiled"), GazeSettings(mode="tiled", gazing_ratio=0.75, task_loss_requirement=RAGGED)
    all_lanes = [
        BenchLane("one tile, 10 tokens", 640, 360, 32, tokens(10, "resize"), paint=False),
        BenchLane("one tile, 40 tokens", 640, 360, 32, tokens(40, "resize"), paint=False),
        BenchLane("640×360, resize", 640, 360, 64, GazeSettings()),
        BenchLane("45 tiles, 10 tokens", 1920, 1080, 32, tokens(10, "tiled"), paint=False),
        BenchLane("45 tiles, 40 tokens", 1920, 1080, 32, tokens(40, "tiled"), paint=False),
        BenchLane("45 tiles, ragged", 1920, 1080, 16, ragged, paint=False),
        BenchLane("1280×720, tiled", 1280, 720, 64, tiled),
        BenchLane("1920×1080, tiled", 1920, 1080, 320, tiled),
        BenchLane("3840×2160, tiled", 3840, 2160, 32, tiled),
        BenchLane("640×360, resize, long", 640, 360, 43_200, GazeSettings()),  # two hours, six frames a second
        BenchLane("dispatches", 320, 180, 2, GazeSettings(max_gaze_tokens_each_frame=20, clip_len=2)),
    ]
    everything = {lane.name: lane for lane in all_lanes}
    chosen = {
        "quick": ["one tile, 10 tokens", "640×360, resize"],
        "wasm": ["one tile, 10 tokens", "one tile, 40 tokens", "640×360, resize"],
        "gpu": [name for name in everything if name != "dispatches" and "long" not in name],
        "compare": ["one tile, 40 tokens", "45 tiles, 40 tokens", "1280×720, tiled", "1920×1080, tiled"],
        "headline": ["1920×1080, tiled"],
        "long": ["640×360, resize, long"],
        "dispatches": ["dispatches"],
    }
    return [replace(everything[name], gaze=replace(everything[name].gaze, tile_batch=tile_batch)) for name in chosen[which]]
