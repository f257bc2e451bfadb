"""The package's doors to JavaScript: what web/worker calls in Pyodide.

Async methods answer with an object: `value`, or what went wrong. JavaScript errors that pass through Python come out as they went in.
"""

from __future__ import annotations

import json
import platform
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec

from pyodide.ffi import JsException, jsnull, to_js

from autogaze_web.bench import bench, lanes
from autogaze_web.checkpoint import Checkpoint, open_checkpoint
from autogaze_web.colour import Picture, full_range_of, matrix_of
from autogaze_web.controls import parse
from autogaze_web.errors import AutoGazeError, StoppedError
from autogaze_web.gate.cases import CASES, CLIPS
from autogaze_web.gate.fixtures import StaleError, read
from autogaze_web.gate.verdict import FAILED, Verdict, judge
from autogaze_web.gaze_log import Store
from autogaze_web.model_folder import Model, open_model
from autogaze_web.paint import scale_colours
from autogaze_web.record import RunRecord, json_text
from autogaze_web.runtimes.browser import BrowserRuntime
from autogaze_web.self_test import gazed_ids
from autogaze_web.studio import Studio
from autogaze_web.tiles import plan_tiles

P = ParamSpec("P")
DISTINCT = 8  # frames of a benchmark's clip: at 4K each takes twelve megabytes


def answered(work: Callable[P, Awaitable[object]]) -> Callable[P, Awaitable[Any]]:
    """An async function whose errors come back as an object: {value} | {fault: a JavaScript Error} | {kind, message, detail}."""

    @wraps(work)
    async def answer(*arguments: P.args, **named: P.kwargs) -> Any:
        try:
            return to_js({"value": await work(*arguments, **named)})
        except JsException as error:
            return to_js({"fault": error})
        except AutoGazeError as error:
            return to_js({"kind": type(error).__name__, "message": str(error), "detail": ""})
        except Exception as error:
            return to_js({"kind": "fault", "message": f"{type(error).__name__}: {error}", "detail": traceback.format_exc()})

    return answer


class OpenModel:
    """A model that fits the graphs."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def weights(self) -> Any:
        """A JavaScript object: float32 values by tensor name."""
        checkpoint = self.model.checkpoint
        return to_js({name: to_js(memoryview(checkpoint.weights(name))) for name in checkpoint.tensors})

    def info(self) -> str:
        """ModelInfo of web/shared/messages.js as JSON, but for builtIn."""
        config, checkpoint = self.model.checkpoint.config, self.model.checkpoint
        legend = [
            {"grid": grid, "name": f"{grid}×{grid}", "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
            for grid, colour in zip(config.layout.grids, scale_colours(config.layout), strict=True)
        ]
        return json.dumps(
            {
                "name": self.model.name,
                "sha256": checkpoint.sha256,
                "bytes": len(checkpoint.data),
                "scales": legend,
                "cells": config.cells_each_frame,
                "frames": config.max_num_frames,
            }
        )


@answered
async def model_from(name: str, files: Any, manifest: Any, graphs: Any) -> OpenModel:
    """Check a checkpoint's files (JavaScript: Uint8Arrays by name) and bind them to the graphs."""
    checkpoint: Checkpoint = open_checkpoint(by_name(files))
    return OpenModel(open_model(name, manifest.to_bytes(), by_name(graphs), checkpoint))


@answered
async def self_test(model: OpenModel, runtime: BrowserRuntime) -> str:
    """The ids of the test frames as JSON."""
    return json.dumps(await gazed_ids(runtime, model.model.checkpoint), separators=(",", ":"))


def by_name(files: Any) -> dict[str, bytes]:
    return {str(name): content.to_bytes() for name, content in files.object_entries()}


class JsSource:
    """A Source over a decoder of web/worker."""

    def __init__(self, video: Any) -> None:
        self.video = video

    async def pictures(self, start: int) -> AsyncGenerator[Picture, None]:
        stream = self.video.frames(start)
        try:
            while (frame := await stream.next()) is not None:
                yield picture(frame)
        finally:
            await stream.close()


TURNS = {  # rotation clockwise, after a left-right mirror or not: swap, flip_x, flip_y
    (0, False): (False, False, False),
    (90, False): (True, True, False),
    (180, False): (False, True, True),
    (270, False): (True, False, True),
    (0, True): (False, True, False),
    (90, True): (True, True, True),
    (180, True): (False, False, True),
    (270, True): (True, False, False),
}


def picture(frame: Any) -> Picture:
    """A decoded frame whose planes the worker has uploaded."""
    matrix, full_range = (None if value is None or value is jsnull else value for value in (frame.matrix, frame.fullRange))
    return Picture(
        *(int(frame.index), float(frame.time), int(frame.width), int(frame.height), str(frame.format)),
        *(matrix_of(matrix), full_range_of(full_range), *TURNS[int(frame.rotation), bool(frame.mirrored)]),
        planes=tuple(frame.planes),
    )


class JsStore:
    """A Store that the worker keeps as blobs."""

    def __init__(self, blobs: Any) -> None:
        self.blobs = blobs

    def append(self, data: bytes) -> None:
        self.blobs.append(to_js(data))

    async def read(self, start: int, end: int) -> bytes:
        return bytes((await self.blobs.read(start, end)).to_bytes())


class JsStage:
    """The page's canvases and its news."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage

    def draw(self, index: int, input: Any, mask: Any, output: Any) -> None:
        self.stage.draw(index, input, mask, output)

    def news(self, news: Mapping[str, object]) -> None:
        self.stage.news(to_js(news))


class Take:
    """A video with its studio, as the worker drives it."""

    def __init__(self, model: OpenModel, runtime: BrowserRuntime, video: Any, settings: str, stage: Any, stores: Any, options: str) -> None:
        """settings: JSON as controls.parse takes; stores: two of the worker's; options: JSON {versions, reel_bytes, tile_batch}."""
        given, gaze_and_paint = json.loads(options), parse(json.loads(settings))
        checkpoint, info = model.model.checkpoint, video.info
        versions = {"python": platform.python_version(), **given["versions"]}
        record = RunRecord(
            *(str(info.name), float(info.fps), model.model.name, checkpoint.sha256, checkpoint.config),
            *(*gaze_and_paint, runtime.backend, versions, runtime.limits),
        )
        assert record.layout
        log, trace = (JsStore(store) for store in stores)
        stores_: tuple[Store, Store] = (log, trace)
        self.studio = Studio(runtime, checkpoint, JsSource(video), record, JsStage(stage), stores_, int(given["reel_bytes"]))

    @answered
    async def plan(self, width: int, height: int) -> str:
        """How frames of a size are cut, as JSON {tiles, columns, rows, tileBatch}."""
        record = self.studio.record
        tiling = plan_tiles(record.gaze.mode, width, height, record.config)
        return json.dumps({"tiles": tiling.tiles, "columns": tiling.columns, "rows": tiling.rows, "tileBatch": record.tile_batch(tiling)})

    @property
    def done(self) -> int:
        """Frames that can be shown."""
        return len(self.studio.log)

    @answered
    async def run(self) -> str:
        """Gaze to the end; -> "done", or "stopped" where a person stopped it."""
        try:
            await self.studio.run()
        except StoppedError:
            return "stopped"
        return "stopped" if self.studio.stopped else "done"

    def stop(self) -> None:
        self.studio.stop()

    def follow(self, on: bool) -> None:
        """Whether each painted frame is shown."""
        self.studio.following = on

    @answered
    async def show(self, index: int) -> None:
        await self.studio.show(index)

    @answered
    async def repaint(self, settings: str) -> None:
        """settings: JSON; those of painting count."""
        _, paint = parse(json.loads(settings))
        await self.studio.repaint(paint)

    @answered
    async def pixels(self, index: int) -> Any:
        """A done frame for a file: {time, width, height, panels: three Uint8Arrays RGBA}."""
        painted, panels = await self.studio.pixels(index)
        size = {"time": painted.time_s, "width": painted.width, "height": painted.height}
        return to_js(size | {"panels": [to_js(memoryview(panel.data)) for panel in panels]})

    @answered
    async def metrics(self, closing: str) -> str:
        """metrics.json; closing: JSON {output_files, warnings, timing}."""
        return self.studio.metrics(json.loads(closing))

    @answered
    async def trace_ends(self) -> Any:
        return to_js(list(self.studio.trace_ends()))

    @answered
    async def csv(self) -> str:
        return self.studio.csv()

    @answered
    async def move(self, runtime: BrowserRuntime, tile_batch: int) -> None:
        """Go on with another runtime; tile_batch 0: as it is."""
        await self.studio.move(runtime, tile_batch or None)

    @answered
    async def close(self) -> None:
        await self.studio.close()

    def state(self) -> str:
        """For the diagnostics, as JSON."""
        studio = self.studio
        return json.dumps({"gazed": len(studio.log), "painted": studio.painted, "reel_bytes": studio.reel.bytes, "seconds": studio.seconds})


@answered
async def open_take(model: OpenModel, runtime: BrowserRuntime, video: Any, settings: str, stage: Any, stores: Any, options: str) -> Take:
    """A Take; SettingsError where settings make no sense."""
    return Take(model, runtime, video, settings, stage, stores, options)


@answered
async def run_gate(kind: str, files: Any, models: Any, short: bool) -> str:
    """The parity gate (autogaze_web.gate) as a verdict in JSON.

    kind: "webgpu" or "wasm"; files: the fixtures' two by name; models: [name, OpenModel, BrowserRuntime] each; short: only short cases.
    """
    fixtures = read(by_name(files))
    held = {str(name): (runtime, model.model.checkpoint) for name, model, runtime in models}
    cases = [case for case in CASES if case.short or not short]
    try:
        verdict = await judge(f"browser {kind}", kind, fixtures, held, cases)
    except StaleError as error:
        verdict = Verdict(f"browser {kind}", FAILED, str(error), "", fixtures.made)
    return json_text(verdict.to_json())


@answered
async def run_bench(
    model: OpenModel, runtime: BrowserRuntime, files: Any, which: str, tile_batch: int, sync: Any, held: Any, heap: Any, tell: Any
) -> str:
    """Time the lanes (autogaze_web.bench) and tell each as JSON as it ends.

    files: the gate's fixtures; tile_batch: 0 for what suits the device; sync, held, heap: of bench.
    """
    fixtures = read(by_name(files))
    size = CLIPS["whole"]
    found = []
    for lane in lanes(which, tile_batch):
        times = await bench(lane, runtime, model.model.checkpoint, fixtures.clips["whole"][:DISTINCT], size, sync, held, heap)
        found.append(times.to_json())
        tell(json.dumps(found[-1]))
    return json.dumps(found)
