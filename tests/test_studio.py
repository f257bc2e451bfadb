"""The studio shows what the pipeline renders: in any order, with any painting, after a lost device; and gives everything back."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from autogaze_web.colour import Picture
from autogaze_web.gaze_log import MemoryStore
from autogaze_web.metrics import RunNumbers
from autogaze_web.model_folder import Model, read_model
from autogaze_web.paint import PaintSettings
from autogaze_web.pipeline import Gazer, Painter, SourceFrame, render
from autogaze_web.record import RunRecord
from autogaze_web.runtime import Tensor
from autogaze_web.settings import GazeSettings
from autogaze_web.studio import Studio
from strict_runtime import Strict

Panels = tuple[bytes, bytes, bytes]
SIZES = [(60, 50)] * 7
PAINT = PaintSettings(keyframe_duration=3)
GAZES = {
    "chunk16": GazeSettings(clip_len=4, max_gaze_tokens_each_frame=11),
    "rolling": GazeSettings(window="rolling", clip_len=3, max_gaze_tokens_each_frame=11),
    "tiled": GazeSettings(mode="tiled", clip_len=4, max_gaze_tokens_each_frame=5),
}


class Interleaving(Strict):
    """Lets others go on at every run, as a browser does."""

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        await asyncio.sleep(0)
        return await super().run(graph, feeds)


def pixels(index: int, width: int, height: int) -> NDArray[np.uint8]:
    """A frame of noise over a still ground, RGBA."""
    picture = np.random.default_rng(7).integers(0, 256, (height, width, 4), dtype=np.uint8)
    picture[5 * index % height :, : width // 3] = np.random.default_rng(index).integers(0, 256, 4, dtype=np.uint8)
    picture[..., 3] = 255
    return picture


class Frames:
    """A Source of frames of given sizes."""

    def __init__(self, runtime: Strict, sizes: list[tuple[int, int]]) -> None:
        self.runtime, self.sizes, self.open = runtime, sizes, 0

    async def pictures(self, start: int) -> AsyncGenerator[Picture, None]:
        self.open += 1
        try:
            for index in range(start, len(self.sizes)):
                width, height = self.sizes[index]
                plane = self.runtime.adopt(pixels(index, width, height).reshape(height, 4 * width))
                yield Picture(index, index / 30, width, height, "RGBA", "bt601", False, False, False, False, (plane,))
                await asyncio.sleep(0)
        finally:
            self.open -= 1


class Wall:
    """A Stage that keeps what it is shown."""

    def __init__(self, studio_runtime: Strict) -> None:
        self.runtime = studio_runtime
        self.shown: list[tuple[int, Panels]] = []
        self.told: list[dict[str, object]] = []

    def draw(self, index: int, input: Tensor, mask: Tensor, output: Tensor) -> None:
        self.runtime.check((input, mask, output))
        panels = [self.runtime.runtime.numpy(tensor).tobytes() for tensor in (input, mask, output)]
        self.shown.append((index, (panels[0], panels[1], panels[2])))

    def news(self, news: dict[str, object]) -> None:
        self.told.append(news)


class Scene:
    """A studio with everything around it."""

    def __init__(self, model: Model, gaze: GazeSettings, paint: PaintSettings = PAINT, reel: int = 1 << 30, fail_at: int | None = None,
                 sizes: list[tuple[int, int]] = SIZES) -> None:  # fmt: skip
        self.model, self.runtime = model, Interleaving(model, fail_at)
        self.source, self.wall = Frames(self.runtime, sizes), Wall(self.runtime)
        record = RunRecord("clip.webm", 30.0, model.name, model.checkpoint.sha256, model.checkpoint.config, gaze, paint, "strict", {})
        self.stores = MemoryStore(), MemoryStore()
        self.studio = Studio(self.runtime, model.checkpoint, self.source, record, self.wall, self.stores, reel)

    async def end(self) -> None:
        await self.studio.close()
        assert len(self.runtime.live) == 0, "handles are left"
        assert self.source.open == 0, "a decoder is left open"

    async def move(self, tile_batch: int | None = None) -> None:
        """To a new runtime."""
        old = self.runtime
        self.runtime = Interleaving(self.model)
        await self.studio.move(self.runtime, tile_batch)
        assert len(old.live) == 0
        self.source.runtime = self.wall.runtime = self.runtime


def rendered(model: Model, gaze: GazeSettings, paint: PaintSettings, sizes: list[tuple[int, int]]) -> tuple[list[Panels], RunNumbers]:
    """The same frames through the pipeline as the command line runs it."""
    runtime = Strict(model)
    gazer, painter = Gazer(runtime, model.checkpoint, gaze), Painter(runtime, model.checkpoint.config.layout, paint)
    panels: list[Panels] = []
    numbers = RunNumbers(model.checkpoint.config.layout.grids)

    async def frames() -> AsyncGenerator[SourceFrame, None]:
        for index, (width, height) in enumerate(sizes):
            yield SourceFrame(index, index / 30, width, height, runtime.adopt(pixels(index, width, height)))

    async def go() -> None:
        async for result in render(frames(), gazer, painter):
            tensors = (result.frame.pixels, result.panels.mask, result.panels.output)
            data = [runtime.runtime.numpy(tensor).tobytes() for tensor in tensors]
            panels.append((data[0], data[1], data[2]))
            numbers.add(result.panels.numbers, result.tokens_by_scale)

    asyncio.run(go())
    return panels, numbers


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return read_model(tiny_model)


@pytest.mark.parametrize("gaze", GAZES)
def test_a_run_shows_and_counts_what_the_pipeline_renders(model: Model, gaze: str) -> None:
    sizes = [*SIZES, (44, 70), (44, 70)]
    panels, numbers = rendered(model, GAZES[gaze], PAINT, sizes)

    async def go() -> None:
        scene = Scene(model, GAZES[gaze], sizes=sizes)
        await scene.studio.run()
        assert scene.wall.shown == list(enumerate(panels))
        metrics = json.loads(scene.studio.metrics({}))
        assert metrics["size_changes"] == 1
        assert {key: metrics[key] for key in numbers.summary()} == json.loads(json.dumps(numbers.summary()))
        await scene.end()

    asyncio.run(go())


@pytest.mark.parametrize("reel", [0, 1 << 30], ids=["nothing kept", "all kept"])
def test_any_frame_is_shown_again_as_it_was(model: Model, reel: int) -> None:
    async def go() -> None:
        scene = Scene(model, GAZES["chunk16"], reel=reel)
        await scene.studio.run()
        first = dict(scene.wall.shown)
        for index in (6, 0, 3, 4, 5, 2, 1, 6):
            scene.wall.shown.clear()
            await scene.studio.show(index)
            assert scene.wall.shown == [(index, first[index])]
        with pytest.raises(IndexError):
            await scene.studio.show(7)
        await scene.end()

    asyncio.run(go())


@pytest.mark.parametrize("after", [0, 40, 10**6], ids=["at once", "in the middle", "at the end"])
def test_painting_anew_needs_no_gazing_and_equals_a_run(model: Model, after: int) -> None:
    other = PaintSettings(output_mode="full-blend", mask_mode="scale-rows", geometry="effective")
    expected, numbers = rendered(model, GAZES["chunk16"], other, SIZES)

    async def go() -> None:
        scene = Scene(model, GAZES["chunk16"])
        run = asyncio.create_task(scene.studio.run())
        while not run.done() and scene.runtime.runs < after:
            await asyncio.sleep(0)
        await asyncio.gather(scene.studio.repaint(other), run)
        assert scene.studio.painted == len(SIZES)
        assert dict(scene.wall.shown) == dict(enumerate(expected))
        metrics = json.loads(scene.studio.metrics({}))
        assert (metrics["frames"], metrics["average_psnr_db"]) == (len(SIZES), numbers.summary()["average_psnr_db"])
        await scene.end()

    asyncio.run(go())


@pytest.mark.parametrize("gaze", GAZES)
def test_a_lost_device_changes_nothing(model: Model, gaze: str) -> None:
    async def go() -> None:
        whole = Scene(model, GAZES[gaze])
        await whole.studio.run()
        for fail_at in range(1, whole.runtime.runs, 9):
            scene = Scene(model, GAZES[gaze], fail_at=fail_at)
            with pytest.raises(RuntimeError, match="device lost"):
                await scene.studio.run()
            await scene.move()
            await scene.studio.run()
            assert scene.wall.shown == whole.wall.shown
            assert [bytes(store.data) for store in scene.stores] == [bytes(store.data) for store in whole.stores]
            assert {**json.loads(scene.studio.metrics({}))} == json.loads(whole.studio.metrics({}))
            await scene.end()
        await whole.end()

    asyncio.run(go())


def test_fewer_tiles_at_once_change_nothing(model: Model) -> None:
    async def go() -> None:
        whole = Scene(model, GAZES["tiled"])
        await whole.studio.run()
        scene = Scene(model, GAZES["tiled"], fail_at=30)
        with pytest.raises(RuntimeError):
            await scene.studio.run()
        await scene.move(tile_batch=1)
        await scene.studio.run()
        assert scene.wall.shown == whole.wall.shown
        assert bytes(scene.stores[0].data) == bytes(whole.stores[0].data)
        assert json.loads(scene.studio.metrics({}))["tile_batch_size"] == 1
        await scene.end()
        await whole.end()

    asyncio.run(go())


def test_what_is_kept_has_a_bound(model: Model) -> None:
    async def go() -> None:
        one = 3 * 4 * 60 * 50
        scene = Scene(model, GAZES["chunk16"], reel=2 * one)
        await scene.studio.run()
        assert scene.studio.reel.bytes == 2 * one
        assert list(scene.studio.reel.frames) == [5, 6]
        await scene.end()

    asyncio.run(go())


def test_a_stopped_run_keeps_what_is_done(model: Model) -> None:
    async def go() -> None:
        scene = Scene(model, GAZES["chunk16"])
        run = asyncio.create_task(scene.studio.run())
        while len(scene.wall.told) < 3:
            await asyncio.sleep(0)
        scene.studio.stop()
        await run
        done = len(scene.studio.log)
        assert 3 <= done <= 5
        assert len(scene.wall.told) == done
        await scene.studio.show(0)
        await scene.end()

    asyncio.run(go())


def test_what_is_saved_reads_back(model: Model) -> None:
    async def go() -> None:
        scene = Scene(model, GAZES["tiled"])
        await scene.studio.run()
        rows = list(csv.DictReader(io.StringIO(scene.studio.csv())))
        assert [float(row["psnr_db"]) for row in rows] == [told["psnr_db"] for told in scene.wall.told]
        assert [[int(row[name]) for name in row if name.startswith("tokens_")] for row in rows] == [
            told["tokens"] for told in scene.wall.told
        ]
        head, tail = scene.studio.trace_ends()
        trace = json.loads(head + bytes(scene.stores[1].data).decode() + tail)
        assert [frame["index"] for frame in trace["frames"]] == list(range(len(SIZES)))
        painted, panels = await scene.studio.pixels(4)
        assert tuple(bytes(panel.data) for panel in panels) == dict(scene.wall.shown)[painted.index]
        await scene.end()

    asyncio.run(go())
