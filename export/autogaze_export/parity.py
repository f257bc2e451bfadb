"""Do the ONNX graphs compute what PyTorch computes? A report per tensor, and one verdict.

Both runtimes go through the same pipeline side by side: every run of a graph is fed the reference's inputs in both, so that a difference
is named where it arises and not where it ends up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any, cast

import torch
from torch.nn import functional as F

from autogaze_export.checkpoint import load_network
from autogaze_export.model import AutoGaze
from autogaze_export.torch_runtime import TorchRuntime, to_host
from autogaze_web.colour import FORMATS, MATRICES, RGB, Colours, Picture
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.model_folder import Model, read_model
from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintSettings
from autogaze_web.pipeline import Gazer, Painter, SourceFrame
from autogaze_web.runtime import HostTensor, Limits, Loop, Runtime, Tensor, step_by_step
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.settings import GazeSettings

TOLERANCES = {"vision": 1e-3, "next.past": 1e-3, "row_stats": 0.0}  # others: the manifest's; integers are exact
SIZES = {"resize": (213, 160), "tiled": (300, 230)}  # width, height of the test clip
FRAMES = 3


@dataclass
class TensorReport:
    """The largest difference of one output over all runs."""

    graph: str
    tensor: str
    shape: list[int]
    max_difference: float
    tolerance: float
    passed: bool
    note: str = ""


@dataclass
class ParityReport:
    reference: str
    candidate: str
    tensors: list[TensorReport] = field(default_factory=list)
    not_run: str | None = None

    @property
    def passed(self) -> bool:
        return self.not_run is None and bool(self.tensors) and all(tensor.passed for tensor in self.tensors)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"passed": self.passed}


class SideBySide:
    """A Runtime that runs two: the reference's tensors go on, and every output is compared."""

    def __init__(self, reference: TorchRuntime, candidate: Runtime, tolerance: float) -> None:
        self.reference, self.candidate, self.tolerance = reference, candidate, tolerance
        self.reports: dict[tuple[str, str], TensorReport] = {}

    @property
    def backend(self) -> str:
        return f"{self.reference.backend} beside {self.candidate.backend}"

    @property
    def limits(self) -> Limits:
        return self.reference.limits

    def upload(self, tensor: HostTensor) -> Tensor:
        return self.reference.upload(tensor)

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        return self.reference.zeros(dtype, shape)

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        mirrored = {name: self.candidate.upload(to_host(cast(torch.Tensor, tensor))) for name, tensor in feeds.items()}
        found = await self.candidate.run(graph, mirrored)
        wanted = self.reference.run_now(graph, feeds)
        for (name, tensor), other in zip(wanted.items(), await self.candidate.read([found[name] for name in wanted]), strict=True):
            self.compare(graph, name, to_host(tensor), other)
        handles = {id(tensor): tensor for tensor in (*mirrored.values(), *found.values())}  # in place, the two are one
        self.candidate.release(list(handles.values()))
        return dict(wanted)

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        return await step_by_step(self, first, then, feeds, state, collect, flag, limit)

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        return await self.reference.read(tensors)

    def release(self, tensors: Sequence[Tensor]) -> None:
        self.reference.release(tensors)

    def compare(self, graph: str, name: str, wanted: HostTensor, found: HostTensor) -> None:
        """Keep the worst run of an output."""
        tolerance = TOLERANCES.get(name, self.tolerance) if wanted.dtype == "float32" else 0.0
        if wanted.shape != found.shape or wanted.dtype != found.dtype:
            note = f"{found.dtype} {list(found.shape)} instead"
            self.reports[graph, name] = TensorReport(graph, name, list(wanted.shape), float("inf"), tolerance, False, note)
            return
        a, b = (torch.frombuffer(bytearray(t.data), dtype=getattr(torch, t.dtype)).double() for t in (wanted, found))
        gaps = (a - b).abs()
        worst = float(gaps.max()) if len(gaps) else 0.0
        passed = worst <= tolerance  # a NaN is not
        note = "" if passed else f"first at {index_of(int((~(gaps <= tolerance)).nonzero()[0]), wanted.shape)}"
        before = self.reports.get((graph, name))
        if before is None or not worst <= before.max_difference:  # also where either is a NaN
            self.reports[graph, name] = TensorReport(graph, name, list(wanted.shape), worst, tolerance, passed, note)


def index_of(flat: int, shape: tuple[int, ...]) -> list[int]:
    """The index of a flat position."""
    index = []
    for size in reversed(shape):
        flat, place = divmod(flat, size)
        index.append(place)
    return index[::-1]


def verify_model(folder: Path, device: str = "cpu") -> ParityReport:
    """Compare an exported model with PyTorch on a device, over every graph, mode and painting."""
    model = read_model(folder)
    candidate = NativeRuntime(model)
    if device == "cuda" and not torch.cuda.is_available():
        return ParityReport(f"torch {torch.__version__} cuda", candidate.backend, not_run="PyTorch finds no CUDA device here")
    reference = TorchRuntime(load_network(model.checkpoint, device))
    return verify(model, reference, candidate)


def verify(model: Model, reference: TorchRuntime, candidate: Runtime) -> ParityReport:
    """The report of a candidate that runs the graphs of a model."""
    both = SideBySide(reference, candidate, model.manifest.tolerance)
    report = ParityReport(reference.backend, candidate.backend)
    for settings in gaze_cases(reference, model):
        gazes, frames = asyncio.run(gaze_clip(both, model, settings))
        if settings.window == "chunk16":
            report.tensors.append(against_generate(reference.network, settings, frames, gazes, model))
    asyncio.run(paint_clip(both, model))
    asyncio.run(colour_pictures(both))
    report.tensors[:0] = both.reports.values()
    never = {"shift"} if model.checkpoint.config.max_num_frames == 1 else set()  # windows of one frame have nothing to drop
    missing = set(model.manifest.graphs) - {graph for graph, _ in both.reports} - never
    report.tensors += [TensorReport(graph, "-", [], float("inf"), 0.0, False, "was not run") for graph in sorted(missing)]
    return report


def gaze_cases(reference: TorchRuntime, model: Model) -> Iterator[GazeSettings]:
    """Both ways to prepare, both windows, budgets that cut a block, and a task loss that stops rows in mid-block."""
    config = model.checkpoint.config
    few, more = min(config.slots + 1, config.cells_each_frame), min(2 * config.slots + 3, config.cells_each_frame)
    yield GazeSettings(mode="resize", max_gaze_tokens_each_frame=more)
    yield GazeSettings(mode="resize", window="rolling", clip_len=min(2, config.max_num_frames), max_gaze_tokens_each_frame=more)
    tiled = GazeSettings(mode="tiled", max_gaze_tokens_each_frame=few)
    yield tiled
    gazes, _ = asyncio.run(gaze_clip(reference, model, tiled))
    losses = sorted(loss for gaze in gazes for row in gaze.task_loss for loss in row)
    near = losses[len(losses) // 12 : len(losses) // 6]  # where the gap between two is widest, so that rounding does not decide
    below, above = max(pairwise(near), key=lambda pair: pair[1] - pair[0])
    yield replace(tiled, max_gaze_tokens_each_frame=3 * more, task_loss_requirement=(below + above) / 2)


def drifting_clip(width: int, height: int, frames: int, seed: int = 20261122) -> torch.Tensor:
    """A smooth picture that drifts, with a little noise: uint8 [frames, height, width, 3]; the same on every machine."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 9, 12, generator=generator)
    picture = F.interpolate(coarse, size=(height + 2 * frames, width + 3 * frames), mode="bilinear", align_corners=True)[0]
    noise = torch.rand(frames, 3, height, width, generator=generator) * 0.1
    views = [picture[:, 2 * t : 2 * t + height, 3 * t : 3 * t + width] for t in range(frames)]
    return ((torch.stack(views) * 0.9 + noise) * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


async def gaze_clip(runtime: Runtime, model: Model, settings: GazeSettings) -> tuple[list[FrameGaze], torch.Tensor]:
    width, height = SIZES[settings.mode]
    clip = drifting_clip(width, height, FRAMES)
    gazer = Gazer(runtime, model.checkpoint, settings)
    gazer.shared.capacity_step = 64  # the caches grow from frame to frame, so that growing is compared too
    gazes = [await gazer.gaze(SourceFrame(i, i / 30, width, height, runtime.upload(to_host(frame)))) for i, frame in enumerate(clip)]
    return gazes, clip


def against_generate(network: AutoGaze, settings: GazeSettings, clip: torch.Tensor, gazes: list[FrameGaze], model: Model) -> TensorReport:
    """The pipeline's ids against the network's own `generate`, which knows no graphs, on the tiles that `prepare` made."""
    runtime, config = TorchRuntime(network), network.config
    tiles = torch.stack(asyncio.run(prepared(runtime, model, settings, clip)), dim=1)  # [tiles, frames, 3, tile, tile]
    frames = settings.frames_each_window(config)
    budgets, requirement = settings.stop_rule(config)
    wrong, shape = 0, [0, 0]
    for start in range(0, len(clip), frames):
        part = gazes[start : start + frames]
        gaze = network.generate(tiles[:, start : start + frames], budgets[: len(part)], requirement)
        for ids, found in zip(gaze.ids, part, strict=True):
            shape = [ids.shape[0], shape[1] + ids.shape[1]]
            wrong += int(ids.tolist() != found.ids)
    note = f"{wrong} frames differ" if wrong else ""
    return TensorReport(f"pipeline ({settings.mode})", "ids against generate", shape, float(wrong), 0.0, wrong == 0, note)


async def prepared(runtime: TorchRuntime, model: Model, settings: GazeSettings, clip: torch.Tensor) -> list[torch.Tensor]:
    """The tiles of every frame, [tiles, 3, tile, tile]."""
    gazer = Gazer(runtime, model.checkpoint, settings)
    found = []
    for frame in clip:
        size = gazer.begin(frame.shape[1], frame.shape[0])
        outputs = await runtime.run(size.prepare_graph, {"frame": frame.to(runtime.network.device), **size.feeds})
        found.append(cast(torch.Tensor, outputs["tiles"]))
    return found


async def colour_pictures(runtime: Runtime) -> None:
    """Every pixel format, matrix and range, upright, mirrored and turned, with odd sides and lines that are padded."""
    generator, colours = torch.Generator().manual_seed(2), Colours(runtime)
    turns = list(product((False, True), repeat=3))
    for index, (format, matrix, full_range) in enumerate(product(FORMATS, (*MATRICES, RGB), (False, True))):
        width, height = 37 + index % 2, 23 + index % 3
        sizes = FORMATS[format].sizes(width, height)
        planes = [torch.randint(0, 256, (rows, line + 3), generator=generator, dtype=torch.uint8) for rows, line in sizes]
        swap, flip_x, flip_y = turns[index % len(turns)]
        handed = tuple(runtime.upload(to_host(plane)) for plane in planes)
        await colours.frame(Picture(index, 0.0, width, height, format, matrix, full_range, swap, flip_x, flip_y, handed))


async def paint_clip(runtime: Runtime, model: Model) -> None:
    """Every output mode, mask mode and geometry, on tiles, over a keyframe and a frame after it."""
    layout = model.checkpoint.config.layout
    width, height = SIZES["tiled"]
    gazer = Gazer(runtime, model.checkpoint, GazeSettings(mode="tiled"))
    gazer.begin(width, height)
    assert gazer.tiling is not None
    clip = F.pad(drifting_clip(width, height, 2), (0, 1), value=255)  # opaque
    picks = torch.rand(2, gazer.tiling.tiles, layout.cells, generator=torch.Generator().manual_seed(1)) < 0.15
    for output in OUTPUT_MODES:
        for mask in MASK_MODES:
            for geometry in GEOMETRIES:
                painter = Painter(runtime, layout, PaintSettings(output, mask, geometry))
                for index, frame in enumerate(clip):
                    ids = [picks[index, tile].nonzero().flatten().tolist() for tile in range(gazer.tiling.tiles)]
                    gaze = FrameGaze(ids, [[True] * len(row) for row in ids], [], [])
                    await painter.paint(SourceFrame(index, 0.0, width, height, runtime.upload(to_host(frame))), gazer.tiling, gaze)
