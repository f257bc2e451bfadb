"""Make the parity gate's fixtures: every case through the graphs' own PyTorch modules, in float32 (autogaze_web.gate)."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import torch
from torch import Tensor

from autogaze_export.checkpoint import load_network
from autogaze_export.graphs.step import Step
from autogaze_export.torch_runtime import TorchRuntime
from autogaze_web.checkpoint import Checkpoint
from autogaze_web.gate.cases import CASES, CLIPS, Case, Clip
from autogaze_web.gate.fixtures import CaseRecord, FixtureSet
from autogaze_web.gate.play import play


def make(sample: Path, models: Mapping[str, Checkpoint], device: str, report: Callable[[str], None] = lambda case: None) -> FixtureSet:
    """A fixture set on a device ("cpu" or "cuda"); models: checkpoints by the names that cases use; report: told each case as it begins."""
    clips = {name: cut(sample, clip) for name, clip in CLIPS.items()}
    runtimes = {name: TorchRuntime(load_network(checkpoint, device)) for name, checkpoint in models.items()}
    records = {}
    for case in CASES:
        report(case.name)
        records[case.name] = record(case, runtimes[case.model], models[case.model], clips[case.clip])
    weights = {name: checkpoint.sha256 for name, checkpoint in models.items()}
    return FixtureSet(provenance(device), weights, clips, records)


def record(case: Case, runtime: TorchRuntime, checkpoint: Checkpoint, clip: list[bytes]) -> CaseRecord:
    """One case on PyTorch."""
    kept = CaseRecord()
    for module in runtime.modules.values():
        if isinstance(module, Step):
            module.greedy = watched_greedy(module, kept.margins)  # type: ignore[method-assign, assignment]
    asyncio.run(play(case, runtime, checkpoint, clip, kept.tell))
    return kept


def watched_greedy(module: Step, margins: list[list[float]]) -> Callable[[Tensor, Tensor], Tensor]:
    """Step.greedy that notes how far ahead of the next id each chosen one was: the smallest lead of a row's slots, in logits."""
    greedy = type(module).greedy

    def watched(logits: Tensor, penalty: Tensor) -> Tensor:
        chosen = greedy(module, logits, penalty)
        taken = (penalty < 0)[:, None] | (chosen.cumsum(1) > chosen.long())  # [B, slots, vocab]: what each slot may not choose
        top = logits.masked_fill(taken, -torch.inf).topk(2, dim=-1).values
        margins.append((top[..., 0] - top[..., 1]).amin(1).tolist())
        return chosen

    return watched


def provenance(device: str) -> dict[str, Any]:
    """What computed, without a path."""
    made = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": device,
        "dtype": "float32",
        "tf32": False,
        "seed": None,
    }
    if device == "cuda":
        made |= {"cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name()}
    return made


def cut(sample: Path, clip: Clip) -> list[bytes]:
    """The planes of a part of a video, as they were decoded: Y, U, V of 4:2:0, one after the other."""
    with av.open(str(sample)) as container:
        frames = [frame for index, frame in enumerate(container.decode(video=0)) if clip.first <= index < clip.first + clip.frames]
    return [b"".join(window(frame, clip)) for frame in frames]


def window(frame: av.VideoFrame, clip: Clip) -> Iterable[bytes]:
    if frame.format.name != "yuv420p":
        raise ValueError(f"the sample is {frame.format.name}, and fixtures are cut out of yuv420p")
    for plane, down in zip(frame.planes, (1, 2, 2), strict=True):
        rows = np.frombuffer(cast(Any, plane), np.uint8).reshape(plane.height, plane.line_size)
        x, y = clip.x // down, clip.y // down
        yield rows[y : y + clip.height // down, x : x + clip.width // down].tobytes()
