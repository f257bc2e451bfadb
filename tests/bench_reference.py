"""How long the PyTorch reference takes on a device: `python tests/bench_reference.py cuda`. Float32 without TF32, eager, as the gate's.

The same work as the browser's lanes of fixed tokens: 16 frames, no stop rule; preparation and painting left out. Best of three.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter

import torch

from autogaze_export.checkpoint import load_network
from autogaze_web.checkpoint import open_checkpoint

MODEL = Path(__file__).resolve().parents[1] / "web" / "models" / "default"
FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
LANES = [(1, 10), (1, 40), (45, 10), (45, 40)]  # tiles, tokens a frame


def main(device: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    network = load_network(open_checkpoint({name: (MODEL / name).read_bytes() for name in FILES})).to(device)
    frames, size = network.config.max_num_frames, network.config.input_size
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    found = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if device == "cuda" else device}
    for tiles, tokens in LANES:
        video = torch.randn(tiles, frames, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
        seconds = []
        for _ in range(4 if device == "cuda" else 2):  # the first is not counted
            begin = perf_counter()
            network.generate(video, [tokens] * frames, None)
            wait()
            seconds.append(perf_counter() - begin)
        found[f"{tiles} tiles, {tokens} tokens"] = round(min(seconds[1:]), 4)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
