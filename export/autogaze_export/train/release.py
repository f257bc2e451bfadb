"""A trained network -> a Hugging Face folder: weights stored in float16, configuration as upstream's files have it."""

from __future__ import annotations

from pathlib import Path

import torch

from autogaze_export.model import AutoGaze
from autogaze_web.checkpoint import WEIGHTS, expected_tensors
from autogaze_web.config import CONFIG, PREPROCESSOR
from autogaze_web.safetensors import write
from autogaze_web.whole_files import whole_files


def write_folder(network: AutoGaze, configuration: Path, out: Path, half: bool = True) -> None:
    """Write the three files of a checkpoint into `out`; `configuration` is the folder that the two JSON files are copied from."""
    files = {name: (configuration / name).read_bytes() for name in (CONFIG, PREPROCESSOR)}
    files[WEIGHTS] = packed(network, half)
    with whole_files(out) as partial:
        for name, data in files.items():
            (partial / name).write_bytes(data)


def packed(network: AutoGaze, half: bool) -> bytes:
    """model.safetensors. Computing is in float32 either way; storing in half rounds each weight once."""
    state, dtype = network.state_dict(), torch.float16 if half else torch.float32
    tensors = {
        name: ("F16" if half else "F32", shape, state[name].detach().cpu().to(dtype).contiguous().numpy().tobytes())
        for name, shape in expected_tensors(network.config).items()
    }
    return write(tensors, {"format": "pt"})


def rounded(network: AutoGaze) -> AutoGaze:
    """The network whose float32 weights are what float16 storage keeps of them."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(weight.half().float())
    return network
