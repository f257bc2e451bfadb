"""A fixture set: what a reference computed in every case, small enough to be committed.

One JSON file says what there is, one binary file holds it, compressed. Large tensors are kept as samples with a checksum or a norm.
"""

from __future__ import annotations

import json
import math
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autogaze_web.errors import AutoGazeError
from autogaze_web.runtime import TYPECODES, HostTensor

FORMAT = 1
INDEX, VALUES = "fixtures.json", "fixtures.bin"
WHOLE = 40_000  # elements of uint8 that are kept all; of float32 a tenth, of int32 all
SAMPLES = 509  # of a larger tensor; a prime, so that they fall into all rows and columns
REMAKE = "Remake them on a machine with a GPU: autogaze-web fixtures --device cuda"


class StaleError(AutoGazeError):
    """Fixtures do not belong to what is to be checked."""


@dataclass(frozen=True)
class Kept:
    """One output of one run, as far as it is kept."""

    shape: tuple[int, ...]
    dtype: str
    values: array[float] | array[int]  # all of them, or a sample
    size: int  # of the tensor
    digest: float  # CRC-32 of uint8, norm of float32; 0 where the values are all there

    @property
    def whole(self) -> bool:
        return len(self.values) == self.size


def keep(tensor: HostTensor) -> Kept:
    """What is kept of a tensor."""
    values: array[float] | array[int] = array(TYPECODES[tensor.dtype])
    values.frombytes(memoryview(tensor.data).cast("B").tobytes())
    size = len(values)
    if tensor.dtype == "int32" or size <= (WHOLE if tensor.dtype == "uint8" else WHOLE // 10):
        return Kept(tensor.shape, tensor.dtype, values, size, 0)
    digest = float(zlib.crc32(values)) if tensor.dtype == "uint8" else math.sqrt(math.fsum(value * value for value in values))
    return Kept(tensor.shape, tensor.dtype, sampled(values), size, digest)


def sampled(values: array[Any]) -> array[Any]:
    """SAMPLES of them, evenly spread."""
    return array(values.typecode, [values[index * len(values) // SAMPLES] for index in range(SAMPLES)])


Key = tuple[str, str]  # graph, output


@dataclass
class CaseRecord:
    """One case: what each output was in each run, in order."""

    kept: dict[Key, list[Kept]] = field(default_factory=dict)
    margins: list[list[float]] = field(default_factory=list)  # by block: of each row the smallest lead of a chosen id over the next

    def tell(self, graph: str, name: str, tensor: HostTensor) -> None:
        """A Tell of play.play."""
        self.kept.setdefault((graph, name), []).append(keep(tensor))


@dataclass
class FixtureSet:
    """Everything that was kept, and where it came from."""

    made: dict[str, Any]  # versions, device, seeds; never a path
    weights: dict[str, str]  # sha256 by model
    clips: dict[str, list[bytes]]
    cases: dict[str, CaseRecord]

    def check_weights(self, model: str, sha256: str) -> None:
        """StaleError where the fixtures are of other weights."""
        if self.weights[model] != sha256:
            raise StaleError(f"The fixtures are of {model} weights {self.weights[model][:12]}, and these are {sha256[:12]}. {REMAKE}")


def write(fixtures: FixtureSet) -> dict[str, bytes]:
    """The two files by name."""
    body = bytearray()

    def put(data: bytes) -> list[int]:
        packed = zlib.compress(data, 9)
        body.extend(packed)
        return [len(body) - len(packed), len(packed)]

    index = {
        "format": FORMAT,
        "made": fixtures.made,
        "weights": fixtures.weights,
        "clips": {name: {"frames": len(frames), "data": put(b"".join(frames))} for name, frames in fixtures.clips.items()},
        "cases": {
            name: {
                "margins": record.margins,
                "tensors": [{"graph": graph, "name": output, **packed(runs, put)} for (graph, output), runs in record.kept.items()],
            }
            for name, record in fixtures.cases.items()
        },
    }
    return {INDEX: json.dumps(index, indent=1).encode() + b"\n", VALUES: bytes(body)}


def packed(runs: list[Kept], put: Any) -> dict[str, Any]:
    """An output's runs in one piece."""
    data = b"".join(kept.values.tobytes() for kept in runs)
    return {
        "dtype": runs[0].dtype,
        "runs": [[list(kept.shape), len(kept.values), kept.size, kept.digest] for kept in runs],
        "data": put(data),
    }


def read(files: Mapping[str, bytes]) -> FixtureSet:
    """A set from its two files; StaleError for another format."""
    index = json.loads(files[INDEX])
    if index.get("format") != FORMAT:
        raise StaleError(f"The fixtures have format {index.get('format')}, and this version reads {FORMAT}. {REMAKE}")
    body = files[VALUES]

    def get(place: list[int]) -> bytes:
        return zlib.decompress(body[place[0] : place[0] + place[1]])

    clips = {}
    for name, entry in index["clips"].items():
        data, count = get(entry["data"]), entry["frames"]
        clips[name] = [data[i * len(data) // count : (i + 1) * len(data) // count] for i in range(count)]
    cases = {}
    for name, entry in index["cases"].items():
        kept = {(tensor["graph"], tensor["name"]): unpacked(tensor, get(tensor["data"])) for tensor in entry["tensors"]}
        cases[name] = CaseRecord(kept, entry["margins"])
    return FixtureSet(index["made"], index["weights"], clips, cases)


def unpacked(entry: dict[str, Any], data: bytes) -> list[Kept]:
    runs, place = [], 0
    for shape, count, size, digest in entry["runs"]:
        values: array[Any] = array(TYPECODES[entry["dtype"]])
        values.frombytes(data[place : place + count * values.itemsize])
        place += count * values.itemsize
        runs.append(Kept(tuple(shape), entry["dtype"], values, size, digest))
    return runs
