"""Where the gate's files are in a checkout (CPython only); an installed wheel has none."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path

from autogaze_web.checkpoint import Checkpoint, open_checkpoint
from autogaze_web.errors import NotRunError
from autogaze_web.gate.cases import BUILT_IN, NOISE
from autogaze_web.gate.fixtures import INDEX, REMAKE, VALUES, FixtureSet, read

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "web" / "sample" / "sample.webm"
FIXTURES = ROOT / "tests" / "data" / "parity"
UPSTREAM = ROOT / "tests" / "data" / "upstream"  # README.md there says where the noise comes from
MODEL = ROOT / "web" / "models" / "default"


def fixture_files() -> dict[str, bytes]:
    """The committed fixtures by name; NotRunError where there are none."""
    if not (FIXTURES / INDEX).is_file():
        raise NotRunError(f"There are no fixtures here: they are in a checkout of the project, at {FIXTURES.relative_to(ROOT)}. {REMAKE}")
    return {name: (FIXTURES / name).read_bytes() for name in (INDEX, VALUES)}


def fixtures() -> FixtureSet:
    """The committed fixtures; StaleError for another format."""
    return read(fixture_files())


def noise_files() -> dict[str, bytes]:
    """The three files of upstream's seeded-noise checkpoint, byte for byte: packed as four planes of bytes, which compress better."""
    packed = lzma.decompress((UPSTREAM / "model.safetensors.xz").read_bytes())
    (length,) = struct.unpack("<Q", packed[:8])
    body = packed[8 + length :]
    weights, quarter = bytearray(len(body)), len(body) // 4
    for plane in range(4):
        weights[plane::4] = body[plane * quarter : (plane + 1) * quarter]
    texts = {name: (UPSTREAM / name).read_bytes() for name in ("config.json", "preprocessor_config.json")}
    return texts | {"model.safetensors": packed[: 8 + length] + bytes(weights)}


def checkpoints() -> dict[str, Checkpoint]:
    """Every model that cases use; NotRunError outside a checkout."""
    if not (MODEL / "model.safetensors").is_file() or not UPSTREAM.is_dir():
        raise NotRunError("The gate's models are in a checkout of the project, and this is none. Clone it and run this there.")
    names = ("config.json", "preprocessor_config.json", "model.safetensors")
    return {BUILT_IN: open_checkpoint({name: (MODEL / name).read_bytes() for name in names}), NOISE: open_checkpoint(noise_files())}
