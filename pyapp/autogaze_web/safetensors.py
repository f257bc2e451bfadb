"""The safetensors format, read strictly and written plainly.

A file is: header length (8 bytes, little-endian), JSON header, data. The header maps each name to dtype, shape and a byte range
relative to the start of the data; the ranges cover the data exactly, with no overlap and no hole.
"""

from __future__ import annotations

import json
import math
import re
import struct
import sys
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, NoReturn, TypeGuard

from .errors import CheckpointError, quoted

ITEM_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 8),
}
MAX_HEADER_BYTES = 100_000_000  # the limit of the reference implementation
MOST_NESTED = 64  # brackets in brackets, in any JSON that is read; a checkpoint has four
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)  # or a string, whose brackets do not count
_PREFIX = 8  # bytes of the header length
_HALVES_AT_ONCE = 65_536  # float16 values go through Python floats (32 bytes each): convert in pieces
_NOT_FINITE = bytes(byte for byte in range(256) if byte & 0x7C == 0x7C)  # high bytes of float16 whose exponent is all ones
_PICKLE = (
    "is a PyTorch pickle (as in .bin, .pt or .pth files), whatever its name says; pickles can run code and are never loaded here. "
    "Use a folder that has the weights as model.safetensors"
)
_FOREIGN = {  # how other files begin that end up under this name
    b"PK": _PICKLE,
    b"\x80": _PICKLE,
    b"version https://git-lfs": "is a Git LFS pointer, not the weights themselves; run `git lfs pull`, or download the file again",
    b"<": "is a web page, not weights; download the file itself",
}


class TensorInfo(NamedTuple):
    """Where a tensor lies in the file, and what it is."""

    name: str
    dtype: str  # a key of ITEM_BYTES
    shape: tuple[int, ...]
    start: int  # absolute byte offset in the file
    end: int  # absolute, one past the last byte


class Header(NamedTuple):
    """All tensors of a file in the header's order, and the free text beside them."""

    tensors: dict[str, TensorInfo]
    metadata: dict[str, str]


def strict_object(text: str | bytes | memoryview, source: str) -> dict[str, object]:
    """A JSON object from UTF-8 text; `source` is the file's name in messages.

    CheckpointError for anything else, and for what json lets pass: duplicate keys, NaN and Infinity.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        values = dict(pairs)
        if len(values) < len(pairs):
            [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
            raise CheckpointError(f"{source}: the key {quoted(twice)} appears twice in one JSON object, so its value is in doubt.")
        return values

    def constant(name: str) -> NoReturn:
        raise CheckpointError(f"{source}: {name} is not a JSON number.")

    try:
        decoded = text if isinstance(text, str) else str(text, "utf-8")
        if nesting(decoded) > MOST_NESTED:  # in a browser, the recursion that json would need ends the interpreter
            raise ValueError(f"nested more than {MOST_NESTED} deep")
        value = json.loads(decoded, object_pairs_hook=unique, parse_constant=constant)
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{source}: not UTF-8 text (byte {error.start}); the file is damaged or of another kind.") from error
    except (ValueError, RecursionError) as error:  # ValueError: malformed, or an integer of thousands of digits
        raise CheckpointError(f"{source}: not readable as JSON ({error}); the file is damaged or of another kind.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{source}: a JSON object is needed, found {quoted(value)}.")
    return value


def nesting(text: str) -> int:
    """How deep brackets are nested at most; those in strings do not count."""
    depth = deepest = 0
    for bracket in BRACKETS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(bracket[0], 0)
        deepest = max(deepest, depth)
    return deepest


def read_header(data: bytes | memoryview, source: str = "model.safetensors") -> Header:
    """Every tensor's place in a whole safetensors file; `source` is the file's name in messages.

    CheckpointError when any byte or header entry departs from the format. Tensor values are not looked at.
    """
    view = memoryview(data).cast("B")
    first = _data_start(view, source)
    entries = strict_object(view[_PREFIX:first], f"{source} (header)")
    metadata = _metadata(entries.pop("__metadata__", {}), source)
    tensors = {name: _tensor(name, entry, first, len(view), source) for name, entry in entries.items()}
    _check_cover(tensors, first, len(view), source)
    return Header(tensors, metadata)


def _data_start(view: memoryview, source: str) -> int:
    if len(view) < _PREFIX:
        _refuse_foreign(view, source, f"has {len(view)} bytes; a safetensors file has at least 8, so the download is probably incomplete")
    length = int.from_bytes(view[:_PREFIX], "little")
    if length > MAX_HEADER_BYTES:
        _refuse_foreign(view, source, f"claims a header of {length} bytes, and {MAX_HEADER_BYTES} is the most the format allows")
    if length > len(view) - _PREFIX:
        _refuse_foreign(view, source, f"claims a header of {length} bytes but has only {len(view) - _PREFIX} after the length")
    if length == 0 or view[_PREFIX] != ord("{"):
        _refuse_foreign(view, source, "has a header that does not begin with '{', so it is no safetensors file")
    return _PREFIX + length


def _refuse_foreign(view: memoryview, source: str, fault: str) -> NoReturn:
    # Asked only once the format failed: a sound file whose header is 128 bytes long begins with 0x80 as well.
    begin = bytes(view[:32])
    known = next((reason for magic, reason in _FOREIGN.items() if begin.startswith(magic)), None)
    raise CheckpointError(f"{source} {known or fault}.")


def _metadata(value: object, source: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError(f"{source}: __metadata__ must map text to text, found {quoted(value)}.")
    return value


def _tensor(name: str, entry: object, first: int, file_bytes: int, source: str) -> TensorInfo:
    where = f"{source}: tensor {quoted(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{where} needs exactly dtype, shape and data_offsets, found {quoted(entry)}.")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise CheckpointError(f"{where} has the unknown dtype {quoted(dtype)}; known: {', '.join(ITEM_BYTES)}.")
    if not _sizes(shape):
        raise CheckpointError(f"{where} has the shape {quoted(shape)}; a list of integers from 0 is needed.")
    if not _sizes(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{where} has data_offsets {quoted(offsets)}; a list of two integers from 0 is needed.")
    start, end = first + offsets[0], first + offsets[1]
    if not start <= end <= file_bytes:
        raise CheckpointError(f"{where} has data_offsets {quoted(offsets)}, outside the {file_bytes - first} bytes of data in the file.")
    if _product(shape, end - start) * ITEM_BYTES[dtype] != end - start:
        raise CheckpointError(f"{where} is {dtype} of shape {quoted(shape)}, which is not the {end - start} bytes its data_offsets span.")
    return TensorInfo(name, dtype, tuple(shape), start, end)


def _sizes(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)  # type(): a bool is no size


def _product(shape: list[int], limit: int) -> int:
    """Elements of a shape; any number above `limit` may stand for a larger product, so that no giant is ever multiplied out."""
    if 0 in shape:
        return 0
    count = 1
    for size in shape:
        count *= size
        if count > limit:
            return limit + 1
    return count


def _check_cover(tensors: Mapping[str, TensorInfo], first: int, file_bytes: int, source: str) -> None:
    reached = first
    for info in sorted(tensors.values(), key=lambda info: (info.start, info.end)):
        if info.start != reached:
            fault = "overlaps another tensor" if info.start < reached else f"leaves a hole of {info.start - reached} bytes before it"
            raise CheckpointError(f"{source}: tensor {quoted(info.name)} {fault}; the file is damaged.")
        reached = info.end
    if reached != file_bytes:
        raise CheckpointError(f"{source}: {file_bytes - reached} bytes after the last tensor belong to none; the file is damaged.")


def tensor_bytes(data: bytes | memoryview, info: TensorInfo) -> memoryview:
    """The stored bytes of a tensor, little-endian and row-major, without a copy."""
    return memoryview(data).cast("B")[info.start : info.end]


def floats(data: bytes | memoryview, info: TensorInfo) -> array[float]:
    """A tensor's values as float32 (array type 'f'), row-major, from F32 or F16 storage; CheckpointError for another dtype."""
    stored = tensor_bytes(data, info)
    values = array("f")
    if info.dtype == "F32":
        values.frombytes(stored)
        if sys.byteorder == "big":
            values.byteswap()
    elif info.dtype == "F16":
        for start in range(0, len(stored), 2 * _HALVES_AT_ONCE):
            piece = stored[start : start + 2 * _HALVES_AT_ONCE]
            values.extend(array("f", struct.unpack(f"<{len(piece) // 2}e", piece)))
    else:
        raise CheckpointError(f"tensor {quoted(info.name)} is stored as {info.dtype}; F32 and F16 are supported.")
    return values


def all_finite(data: bytes | memoryview, info: TensorInfo) -> bool:
    """Whether no value of a tensor stored as F32 or F16 is NaN or infinite; CheckpointError for another dtype.

    Of float16 the high bytes tell, which takes a tenth of the time that the numbers take. Of float32 one sum in float64 tells: a NaN or
    an infinity stays in it for ever, and finite float32 values (below 2^128) cannot overflow it (2^1024) with fewer than 2^896 of them.
    """
    if info.dtype == "F16":
        high = bytes(tensor_bytes(data, info)[1::2])
        return len(high.translate(None, _NOT_FINITE)) == len(high)
    return math.isfinite(sum(floats(data, info)))


def write(tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]], metadata: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file from name → (dtype, shape, little-endian bytes), in the order given: equal input, equal bytes.

    ValueError when a tensor's bytes do not fit its dtype and shape.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    reached = 0
    for name, (dtype, shape, stored) in tensors.items():
        if math.prod(shape) * ITEM_BYTES.get(dtype, -1) != len(stored):
            raise ValueError(f"tensor {name!r}: {len(stored)} bytes are not {dtype} of shape {shape}")
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [reached, reached + len(stored)]}
        reached += len(stored)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # data begins at a multiple of 8, as the format asks
    return b"".join([len(text).to_bytes(_PREFIX, "little"), text, *(stored for _, _, stored in tensors.values())])
