"""A case through the pipeline, with every watched output told as it comes: the same for who writes fixtures and who is held to them."""

from __future__ import annotations

from array import array
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.colour import Colours, Picture
from autogaze_web.gate.cases import CLIPS, Case, Clip, frames_of
from autogaze_web.pipeline import Gazer, Painter
from autogaze_web.runtime import HostTensor, Limits, Loop, Runtime, Tensor

PAINT = "paint"  # graphs whose names begin so
WATCHED = {  # outputs of a graph that are compared; a loop's collected outputs are watched too, as those of STEP
    "rgb": ("frame",),
    "prepare": ("tiles",),
    "prepare_tiled": ("tiles",),
    "encode": ("vision",),
    PAINT: ("mask_panel", "output_panel", "row_stats"),
}
STEP = "step"
FLAGS = ("block_valid", "stop")  # of STEP: numbers that are yes or no
NUMBERS = "numbers"  # of a painted frame: mask_ratio, update_ratio, psnr_db (0 for none)

Tell = Callable[[str, str, HostTensor], None]  # graph, output, values


class Watched:
    """A Runtime whose outputs are told."""

    def __init__(self, runtime: Runtime, tell: Tell) -> None:
        self.runtime, self.tell = runtime, tell
        self.stage = ""  # what graphs that paint are called, whichever they are

    @property
    def backend(self) -> str:
        return self.runtime.backend

    @property
    def limits(self) -> Limits:
        return replace(self.runtime.limits, side_by_side=False)  # outputs are compared in the order in which they come

    def upload(self, tensor: HostTensor) -> Tensor:
        return self.runtime.upload(tensor)

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        return self.runtime.zeros(dtype, shape)

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs = await self.runtime.run(graph, feeds)
        painting = graph.startswith(PAINT)
        names = WATCHED.get(PAINT if painting else graph, ())
        if names:
            for name, values in zip(names, await self.runtime.read([outputs[name] for name in names]), strict=True):
                self.tell(self.stage if painting else graph, name, values)
        return outputs

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        ended = await self.runtime.loop(first, then, feeds, state, collect, flag, limit)
        for run in ended.collected:
            for name in collect:
                self.tell(STEP, name, flags(run[name]) if name in FLAGS else run[name])
        return ended

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        return await self.runtime.read(tensors)

    def release(self, tensors: Sequence[Tensor]) -> None:
        self.runtime.release(tensors)


def flags(tensor: HostTensor) -> HostTensor:
    """Whether each number is above 0, as an integer, which must be equal and not near."""
    return HostTensor(array("i", [int(value > 0) for value in tensor.data]), "int32", tensor.shape)


async def play(case: Case, runtime: Runtime, checkpoint: Checkpoint, clip: Sequence[bytes], tell: Tell) -> None:
    """Run a case; clip: its frames, I420 planes one after the other."""
    watched = Watched(runtime, tell)
    gazer, colours = Gazer(watched, checkpoint, case.gaze), Colours(watched)
    painters = [Painter(watched, checkpoint.config.layout, paint) for paint in case.paints]
    try:
        async for picture in pictures(CLIPS[case.clip], clip[: frames_of(case)], watched):
            frame = await colours.frame(picture)
            try:
                gaze = await gazer.gaze(frame)
                assert gazer.tiling is not None
                for painter in painters:
                    watched.stage = painter.settings.stage
                    panels = await painter.paint(frame, gazer.tiling, gaze)
                    watched.release([panels.mask, panels.output])
                    numbers = panels.numbers
                    psnr = 0.0 if not numbers.squared_error else numbers.psnr_db
                    tell(NUMBERS, "ratios", HostTensor(array("f", [numbers.mask_ratio, numbers.update_ratio]), "float32", (2,)))
                    tell(NUMBERS, "psnr_db", HostTensor(array("f", [psnr]), "float32", (1,)))
            finally:
                watched.release([frame.pixels])
    finally:
        gazer.release()
        colours.release()
        for painter in painters:
            painter.release()


async def pictures(clip: Clip, frames: Sequence[bytes], runtime: Runtime) -> AsyncGenerator[Picture, None]:
    """Decoded frames, as a video would give them: BT.709, limited range."""
    width, height = clip.width, clip.height
    shapes = [(height, width), (height // 2, width // 2), (height // 2, width // 2)]
    for index, data in enumerate(frames):
        planes, place = [], 0
        for rows, columns in shapes:
            planes.append(runtime.upload(HostTensor(data[place : place + rows * columns], "uint8", (rows, columns))))
            place += rows * columns
        yield Picture(index, index / 24, width, height, "I420", "bt709", False, False, False, False, tuple(planes))
