"""Traces of NVIDIA's own code, as tests use them; and how they were packed (tests/data/upstream/README.md says where they come from).

python tests/upstream_traces.py pack FOLDER    packs a folder of traces as NVIDIA's code wrote them
"""

from __future__ import annotations

import io
import json
import lzma
import struct
import sys
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data" / "upstream"
TRACES = ("clip16", "batch3", "ratio_only", "loss_only", "target448", "preprocess")
SAMPLED = {"gazing_model_video": 7}  # large floats are kept at every n-th row and column
Arrays = dict[str, NDArray[np.generic]]


@lru_cache
def checkpoint_files() -> dict[str, bytes]:
    """The three files of the seeded-noise checkpoint, byte for byte."""
    length, *_ = struct.unpack("<Q", (packed := lzma.decompress((DATA / "model.safetensors.xz").read_bytes()))[:8])
    head, body = packed[: 8 + length], packed[8 + length :]
    weights = head + np.frombuffer(body, np.uint8).reshape(4, -1).T.tobytes()
    return {name: (DATA / name).read_bytes() for name in ("config.json", "preprocessor_config.json")} | {"model.safetensors": weights}


@lru_cache
def frames() -> NDArray[np.uint8]:
    """Frames 0–15 of upstream's sample video: uint8 [16, 448, 448, 3]."""
    return unpack_frames(DATA / "frames_448.webm")


@lru_cache
def trace(name: str) -> Arrays:
    """A trace's tensors; those in SAMPLED only at every n-th row and column."""
    with np.load(DATA / f"{name}.npz") as arrays:
        found: Arrays = dict(arrays)
    if name == "preprocess":
        found["frames"] = unpack_frames(DATA / "preprocess.webm")
    return found


def options(name: str) -> dict[str, object]:
    """What NVIDIA's code was asked for, and the counts it gave."""
    found: dict[str, object] = json.loads((DATA / "manifest.json").read_bytes())[name]
    return found


def sampled(name: str, values: NDArray[np.generic]) -> NDArray[np.generic]:
    """The rows and columns that are kept of a tensor."""
    return values[..., :: SAMPLED[name], :: SAMPLED[name]] if name in SAMPLED else values


def unpack_frames(path: Path) -> NDArray[np.uint8]:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(np.uint8)


def pack_frames(pixels: NDArray[np.uint8]) -> bytes:
    """Lossless VP9 of RGB frames."""
    file = io.BytesIO()
    with av.open(file, "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=30, options={"lossless": "1", "cpu-used": "1"})
        stream.width, stream.height, stream.pix_fmt = pixels.shape[2], pixels.shape[1], "gbrp"
        for picture in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def pack(source: Path) -> None:
    """Write DATA from upstream's traces."""
    from safetensors.numpy import load_file  # only here: the tests do not need it

    for name in ("config.json", "preprocessor_config.json"):
        (DATA / name).write_bytes((source / "checkpoint" / name).read_bytes())
    (DATA / "manifest.json").write_bytes((source / "manifest.json").read_bytes())
    weights = (source / "checkpoint" / "model.safetensors").read_bytes()
    body = 8 + struct.unpack("<Q", weights[:8])[0]
    planes = np.frombuffer(weights[body:], np.uint8).reshape(-1, 4).T.tobytes()  # exponents side by side compress, mantissas do not
    (DATA / "model.safetensors.xz").write_bytes(lzma.compress(weights[:body] + planes, preset=9))
    (DATA / "frames_448.webm").write_bytes(pack_frames(load_file(source / "frames_448.safetensors")["frames"]))
    for name in TRACES:
        arrays = load_file(source / f"{name}.safetensors")
        if name == "preprocess":
            (DATA / "preprocess.webm").write_bytes(pack_frames(arrays.pop("frames")))
        np.savez_compressed(DATA / f"{name}.npz", **{key: sampled(key, values) for key, values in arrays.items()})


if __name__ == "__main__":
    if sys.argv[1:2] != ["pack"] or len(sys.argv) != 3:
        sys.exit(__doc__)
    pack(Path(sys.argv[2]))
