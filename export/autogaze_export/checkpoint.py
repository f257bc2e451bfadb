"""A validated checkpoint -> the network with its weights. Validation itself is in autogaze_web.checkpoint, shared with the page."""

from __future__ import annotations

import torch

from autogaze_export.model import AutoGaze
from autogaze_web.checkpoint import Checkpoint


def load_network(checkpoint: Checkpoint, device: str | torch.device = "cpu") -> AutoGaze:
    """The network in float32 on a device, in evaluation mode, without gradients.

    On CUDA TF32 is switched off for the process: its 10-bit products would change ids.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    network = AutoGaze(checkpoint.config)
    weights = {
        name: torch.frombuffer(checkpoint.weights(name), dtype=torch.float32).reshape(info.shape)
        for name, info in checkpoint.tensors.items()
    }
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False).to(device)
