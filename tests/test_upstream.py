"""NVIDIA's traces, reproduced exactly: by the network, and by the pipeline on PyTorch and on ONNX Runtime."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import upstream_traces as upstream
from autogaze_export.graphs.prepare import Prepare, resize
from autogaze_export.model import AutoGaze, Gaze
from autogaze_export.torch_runtime import TorchRuntime
from autogaze_web.checkpoint import Checkpoint
from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.pipeline import Gazer, SourceFrame
from autogaze_web.runtime import HostTensor, Runtime, Tensor
from autogaze_web.settings import GazeSettings
from autogaze_web.target import target_layout, to_target
from autogaze_web.tiles import Tiling, plan_tiles, prepare_feeds

IDS = ("clip16", "batch3", "ratio_only", "loss_only")


def clip(name: str) -> NDArray[np.uint8]:
    """The frames of a trace, [rows, frames, height, width, 3]."""
    frames = upstream.frames()[: cast(int, upstream.options(name)["frames"])]
    if name != "batch3":
        return frames[None]
    corners = upstream.trace(name)["crop_origins_yx"].tolist()
    return np.stack([frames[:, y : y + 224, x : x + 224] for y, x in corners])


def settings(name: str, **more: Any) -> GazeSettings:
    """What the trace was asked for."""
    asked = upstream.options(name)
    return GazeSettings(
        gazing_ratio=cast(float | None, asked.get("gazing_ratio")),
        task_loss_requirement=cast(float | None, asked.get("task_loss_requirement")),
        **more,
    )


def check(name: str, ids: list[list[list[int]]], valid: list[list[list[bool]]], checkpoint: Checkpoint) -> None:
    """ids and validity of each frame and row against the trace: positions, padding, counts and masks."""
    wanted, layout = upstream.trace(name), checkpoint.config.layout
    counts = [len(frame[0]) for frame in ids]
    assert counts == wanted["num_gazing_each_frame"].tolist()
    found = np.concatenate([np.array(frame) + layout.cells * t for t, frame in enumerate(ids)], axis=1)
    padded = ~np.concatenate([np.array(frame) for frame in valid], axis=1)
    np.testing.assert_array_equal(found, wanted["gazing_pos"])
    np.testing.assert_array_equal(padded, wanted["if_padded_gazing"].astype(bool))
    mask = np.zeros((len(found), len(ids), layout.cells), np.uint8)
    for frame, (tokens, flags) in enumerate(zip(ids, valid, strict=True)):
        for row, (row_ids, row_flags) in enumerate(zip(tokens, flags, strict=True)):
            mask[row, frame, [token for token, flag in zip(row_ids, row_flags, strict=True) if flag]] = 1
    for scale, (first, end) in enumerate(zip(layout.offsets, layout.offsets[1:], strict=False)):
        np.testing.assert_array_equal(mask[:, :, first:end], wanted[f"gazing_mask_{scale}"])


# --- the network itself, on whole clips -------------------------------------------------------------------------------------------


def normalised(frames: NDArray[np.uint8], checkpoint: Checkpoint) -> torch.Tensor:
    """Upstream's `video`: [frames, 3, h, w], shortest edge 224, from our own resize and level table."""
    height, width = frames.shape[1:3]
    feeds = prepare_feeds(plan_tiles("resize", width, height, checkpoint.config), checkpoint.config, checkpoint.preprocessor)
    tensors = {name: torch.frombuffer(feed.data, dtype=getattr(torch, feed.dtype)).reshape(feed.shape) for name, feed in feeds.items()}
    prepare = Prepare(checkpoint.config)
    passes = [tensors[name] for name in ("column_index", "column_weights", "row_index", "row_weights")]
    pictures = [prepare.normalise(resize(torch.from_numpy(frame), *passes), tensors["levels"]) for frame in frames]
    return torch.stack(pictures).permute(0, 3, 1, 2)


def generate(name: str, network: AutoGaze, checkpoint: Checkpoint) -> Gaze:
    rows = torch.stack([normalised(frames, checkpoint) for frames in clip(name)])
    budgets, requirement = settings(name).stop_rule(checkpoint.config)
    return network.generate(rows.to(network.device), budgets[: rows.shape[1]], requirement)


@pytest.mark.parametrize("name", IDS)
def test_the_network_gives_the_traces_ids_padding_counts_and_masks(name: str, noise_network: AutoGaze, noise: Checkpoint) -> None:
    gaze = generate(name, noise_network, noise)
    check(name, [ids.tolist() for ids in gaze.ids], [valid.tolist() for valid in gaze.valid], noise)


def test_the_network_gives_the_traces_floats(noise_network: AutoGaze, noise: Checkpoint) -> None:
    wanted = upstream.trace("ratio_only")
    video = normalised(clip("ratio_only")[0], noise)[None]
    with torch.no_grad():
        embeds, _ = noise_network.embed(video.to(noise_network.device))
    assert np.abs(embeds.cpu().numpy() - wanted["video_embeds"]).max() < 1e-3
    gaze = generate("ratio_only", noise_network, noise)
    assert np.abs(torch.cat(gaze.probs, 1).cpu().numpy() - wanted["gaze_probs"]).max() < 1e-4
    # Upstream's field is the loss after the slot's token: what the next slot predicts before its own.
    slots = gaze.ids[0].shape[1]
    losses = torch.cat([losses[:, 1 : slots + 1] for losses in gaze.task_loss], 1)
    assert np.abs(losses.cpu().numpy() - wanted["task_loss_prediction"]).max() < 1e-4


def test_preprocessing_is_exact_to_the_8_bit_step(noise: Checkpoint) -> None:
    wanted = upstream.trace("preprocess")
    video = normalised(wanted["frames"], noise)[..., : wanted["video"].shape[-1]]  # the last block of columns is filled up
    levels = np.abs(video.numpy() - wanted["video"][0]) > 0.01  # one 8-bit step is 0.034
    print(f"{levels.sum()} of {levels.size} 8-bit samples differ from Pillow's")
    assert np.abs(video.numpy() - wanted["video"][0]).max() <= 5e-7


# --- the pipeline, one frame at a time --------------------------------------------------------------------------------------------


class Recording:
    """A Runtime that remembers what graphs gave."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.outputs: dict[str, list[HostTensor]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.runtime, name)

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = await self.runtime.run(graph, feeds)
        for name in ("tiles", "vision"):
            if name in found:
                self.outputs.setdefault(name, []).extend(await self.runtime.read([found[name]]))
        return found

    def gathered(self, name: str) -> NDArray[np.float32]:
        return np.stack([np.frombuffer(tensor.data, np.float32).reshape(tensor.shape) for tensor in self.outputs[name]], axis=1)


@pytest.fixture(scope="module", params=["torch", "onnx"])
def runtime(request: pytest.FixtureRequest, noise_network: AutoGaze) -> Runtime:
    if request.param == "torch":
        return TorchRuntime(noise_network)
    return cast(Runtime, request.getfixturevalue("noise_onnx"))


def gaze_at(frames: NDArray[np.uint8], runtime: Runtime, checkpoint: Checkpoint, settings: GazeSettings) -> tuple[list[FrameGaze], Tiling]:
    """The pipeline's gaze, one frame after the other."""
    gazer = Gazer(runtime, checkpoint, settings)

    async def go() -> list[FrameGaze]:
        height, width, channels = frames.shape[1:]
        found = []
        for index, frame in enumerate(frames):
            pixels = runtime.upload(HostTensor(frame.tobytes(), "uint8", (height, width, channels)))
            found.append(await gazer.gaze(SourceFrame(index, index / 30, width, height, pixels)))
        return found

    gazes = asyncio.run(go())
    assert gazer.tiling is not None
    return gazes, gazer.tiling


@pytest.mark.parametrize("name", IDS)
def test_the_pipeline_gives_the_traces_one_frame_at_a_time(name: str, runtime: Runtime, noise: Checkpoint) -> None:
    rows = clip(name)
    # Crops of a tile's size, side by side, are tiles of one frame: nothing is resized, and rows run in lock-step as upstream's do.
    frames = np.concatenate(list(rows), axis=2)
    gazes, _ = gaze_at(frames, runtime, noise, settings(name, mode="tiled" if len(rows) > 1 else "resize"))
    check(name, [gaze.ids for gaze in gazes], [gaze.valid for gaze in gazes], noise)


def test_tile_batches_change_nothing_but_padding(runtime: Runtime, noise: Checkpoint) -> None:
    frames = np.concatenate(list(clip("batch3")), axis=2)
    whole, _ = gaze_at(frames, runtime, noise, settings("batch3", mode="tiled"))
    parts, _ = gaze_at(frames, runtime, noise, settings("batch3", mode="tiled", tile_batch=2))
    for one, other in zip(whole, parts, strict=True):
        assert [one.cells(tile) for tile in range(3)] == [other.cells(tile) for tile in range(3)]


def test_the_pipeline_gives_the_traces_floats(runtime: Runtime, noise: Checkpoint) -> None:
    wanted, recording = upstream.trace("ratio_only"), Recording(runtime)
    gazes, _ = gaze_at(clip("ratio_only")[0], cast(Runtime, recording), noise, settings("ratio_only"))
    assert np.abs(upstream.sampled("gazing_model_video", recording.gathered("tiles")) - wanted["gazing_model_video"]).max() < 1e-4
    assert np.abs(recording.gathered("vision") - wanted["video_embeds"]).max() < 1e-3
    assert np.abs(np.concatenate([gaze.probs for gaze in gazes], 1) - wanted["gaze_probs"]).max() < 1e-4
    losses = np.concatenate([[row[1 : gaze.slots + 1] for row in gaze.task_loss] for gaze in gazes], 1)
    assert np.abs(losses - wanted["task_loss_prediction"]).max() < 1e-4


def test_frames_of_odd_size_arrive_as_upstream_prepares_them(runtime: Runtime, noise: Checkpoint) -> None:
    wanted, recording = upstream.trace("preprocess"), Recording(runtime)
    gaze_at(wanted["frames"], cast(Runtime, recording), noise, GazeSettings(max_gaze_tokens_each_frame=1))
    assert np.abs(upstream.sampled("gazing_model_video", recording.gathered("tiles")) - wanted["gazing_model_video"]).max() < 1e-4


def test_target_scales_give_upstreams_remapped_ids(runtime: Runtime, noise: Checkpoint) -> None:
    asked, wanted = upstream.options("target448"), upstream.trace("target448")
    chosen = settings("target448", target_scales=tuple(cast(list[int], asked["target_scales"])))
    gazes, tiling = gaze_at(clip("target448")[0], runtime, noise, chosen)
    target = target_layout(chosen, noise.config)
    mapped = [to_target(gaze, tiling, noise.config.layout, target) for gaze in gazes]
    assert [gaze.slots for gaze in mapped] == wanted["num_gazing_each_frame"].tolist()
    found = [token + target.cells * frame for frame, gaze in enumerate(mapped) for token in gaze.ids[0]]
    np.testing.assert_array_equal([found], wanted["gazing_pos"])
    for scale, (first, end) in enumerate(zip(target.offsets, target.offsets[1:], strict=False)):
        masks = [[int(token in gaze.ids[0]) for token in range(first, end)] for gaze in mapped]
        np.testing.assert_array_equal([masks], wanted[f"gazing_mask_{scale}"])
