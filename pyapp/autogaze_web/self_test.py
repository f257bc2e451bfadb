"""Does a device compute the ids it should? Two small frames and the built-in model, against ids stored beside it."""

from __future__ import annotations

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.pipeline import Gazer, SourceFrame
from autogaze_web.runtime import HostTensor, Runtime
from autogaze_web.settings import GazeSettings

WIDTH, HEIGHT = 96, 64  # pixels
FRAMES = 2
TOKENS = 20  # a frame: two blocks, so that every kind of step runs


def test_frame(index: int) -> HostTensor:
    """uint8 [HEIGHT, WIDTH, 4]: stripes that cross, and a square that moves."""
    data = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            inside = 12 * index + 20 <= x < 12 * index + 44 and 16 <= y < 40
            data += bytes(
                (x * y % 251, 7 * x % 256, 255 - 3 * y, 255) if inside else (2 * x, (x // 8 + y // 8) % 2 * 60 + y, x * 5 % 97, 255)
            )
    return HostTensor(bytes(data), "uint8", (HEIGHT, WIDTH, 4))


async def gazed_ids(runtime: Runtime, checkpoint: Checkpoint) -> list[list[int]]:
    """What the model looks at in the test frames."""
    gazer = Gazer(runtime, checkpoint, GazeSettings(max_gaze_tokens_each_frame=TOKENS))
    ids = []
    try:
        for index in range(FRAMES):
            pixels = runtime.upload(test_frame(index))
            try:
                ids.append((await gazer.gaze(SourceFrame(index, index / 30, WIDTH, HEIGHT, pixels))).ids[0])
            finally:
                runtime.release([pixels])
    finally:
        gazer.release()
    return ids
