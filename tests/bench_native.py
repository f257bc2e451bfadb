"""The 16-frame sample clip: the graphs on ONNX Runtime against the network in PyTorch, in one run on the same cores.

    python tests/bench_native.py [MODEL_FOLDER]     default: upstream's noise checkpoint, exported to a temporary folder

Prints the best of each over the rounds, their ratio, and where the graphs' time goes. Rounds alternate, so that whatever else the
machine does falls on both. Nothing is asserted: a speed is a number with a machine beside it, not a test.
"""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import onnxruntime
import torch

import upstream_traces as upstream
from autogaze_export.checkpoint import load_network
from autogaze_export.model import AutoGaze
from autogaze_export.onnx_export import write_model
from autogaze_export.torch_runtime import TorchRuntime
from autogaze_web.checkpoint import open_checkpoint
from autogaze_web.model_folder import Model, read_model
from autogaze_web.pipeline import Gazer, SourceFrame
from autogaze_web.runtime import Tensor
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.settings import GazeSettings

ROUNDS = 5
SETTINGS = GazeSettings(gazing_ratio=0.75, task_loss_requirement=-0.78)  # as the trace clip16: ragged, 1,063 valid tokens


class Timed(NativeRuntime):
    """Adds up the time of each graph."""

    def __init__(self, model: Model) -> None:
        super().__init__(model, threads=os.cpu_count() or 1)
        self.seconds: dict[str, float] = defaultdict(float)

    def run_now(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        start = time.perf_counter()
        outputs = super().run_now(graph, feeds)
        self.seconds[graph] += time.perf_counter() - start
        return outputs


def with_graphs(runtime: Timed, model: Model) -> None:
    """The pipeline that `autogaze-web run` uses, without decoding and painting."""
    runtime.seconds.clear()

    async def go() -> None:
        gazer = Gazer(runtime, model.checkpoint, SETTINGS)
        for index, frame in enumerate(upstream.frames()):
            await gazer.gaze(SourceFrame(index, index / 30, frame.shape[1], frame.shape[0], runtime.adopt(frame)))

    asyncio.run(go())


def with_pytorch(network: AutoGaze, model: Model) -> None:
    """The reference: the same preparation in eager PyTorch, then the network's own generate over the whole clip."""
    runtime = TorchRuntime(network)
    gazer = Gazer(runtime, model.checkpoint, SETTINGS)
    tiles = []
    for frame in upstream.frames():
        size = gazer.begin(frame.shape[1], frame.shape[0])
        tiles.append(runtime.run_now("prepare", {"frame": torch.from_numpy(frame), **size.feeds})["tiles"])
    budgets, requirement = SETTINGS.stop_rule(model.checkpoint.config)
    network.generate(torch.stack(tiles, dim=1), budgets, requirement)


def timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(folder)
        if len(sys.argv) < 2:
            write_model(open_checkpoint(upstream.checkpoint_files()), "seeded noise of upstream's sizes", path)
        model = read_model(path)
    network, runtime = load_network(model.checkpoint), Timed(model)
    torch.set_num_threads(os.cpu_count() or 1)
    best, stages = {"graphs": float("inf"), "PyTorch": float("inf")}, {}
    for _ in range(ROUNDS):
        best["PyTorch"] = min(best["PyTorch"], timed(lambda: with_pytorch(network, model)))
        seconds = timed(lambda: with_graphs(runtime, model))
        if seconds < best["graphs"]:
            best["graphs"], stages = seconds, dict(runtime.seconds)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}")
    for name, seconds in best.items():
        print(f"{name:8} {seconds:.3f} s for 16 frames, {16 / seconds:.1f} fps")
    print(f"ratio    {best['graphs'] / best['PyTorch']:.2f}")
    stages["outside graphs"] = best["graphs"] - sum(stages.values())
    for name, seconds in sorted(stages.items(), key=lambda stage: -stage[1]):
        print(f"  {name:14} {seconds:.3f} s  {100 * seconds / best['graphs']:3.0f} %")


if __name__ == "__main__":
    main()
