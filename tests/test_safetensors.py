"""The safetensors reader: what it reads, and that every departure from the format is refused in words."""

from __future__ import annotations

import json
import math
import pickle
import struct
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_web.errors import CheckpointError
from autogaze_web.safetensors import all_finite, floats, read_header, tensor_bytes, write

TWO = {"a": ("F32", (2, 3), struct.pack("<6f", *range(6))), "b": ("F16", (2,), struct.pack("<2e", 0.5, -2.0))}


def assemble(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype: Any = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_reads_what_struct_packed() -> None:
    values = (1.5, -0.0, 3.4028234663852886e38, 1e-45)
    data = assemble({"x": entry("F32", [2, 2], [0, 16]), "__metadata__": {"format": "pt"}}, struct.pack("<4f", *values))
    header = read_header(data)
    info = header.tensors["x"]
    assert (info.name, info.dtype, info.shape) == ("x", "F32", (2, 2))
    assert (info.start, info.end) == (len(data) - 16, len(data))
    assert header.metadata == {"format": "pt"}
    assert floats(data, info).tobytes() == array("f", values).tobytes()
    assert floats(memoryview(data), info).tobytes() == tensor_bytes(data, info).tobytes()


@given(st.lists(st.floats(width=16), max_size=40))
def test_float16_is_widened_exactly(values: list[float]) -> None:
    data = write({"x": ("F16", (len(values),), struct.pack(f"<{len(values)}e", *values))})
    assert list(map(repr, floats(data, read_header(data).tensors["x"]))) == list(map(repr, values))


def test_float16_longer_than_one_piece() -> None:
    count = 2 * 65_536 + 3
    data = write({"x": ("F16", (count,), struct.pack("<e", 0.25) * (count - 1) + struct.pack("<e", 7.0))})
    values = floats(data, read_header(data).tensors["x"])
    assert len(values) == count and values[-1] == 7.0 and sum(values) == 0.25 * (count - 1) + 7.0


def test_write_is_deterministic_ordered_and_aligned() -> None:
    data = write(TWO, {"seed": "7"})
    assert data == write(dict(TWO), {"seed": "7"})
    assert int.from_bytes(data[:8], "little") % 8 == 0
    header = read_header(data)
    assert list(header.tensors) == ["a", "b"] and header.metadata == {"seed": "7"}
    assert {name: (info.dtype, info.shape, bytes(tensor_bytes(data, info))) for name, info in header.tensors.items()} == TWO


@pytest.mark.parametrize("tensor", [("F32", (2,), b"\0" * 4), ("F31", (1,), b"\0" * 4)])
def test_write_refuses_bytes_that_do_not_fit(tensor: tuple[str, tuple[int, ...], bytes]) -> None:
    with pytest.raises(ValueError, match="'x'"):
        write({"x": tensor})


def test_empty_and_scalar_tensors() -> None:
    data = write({"none": ("F32", (0, 7), b""), "one": ("F32", (), struct.pack("<f", 3.0)), "end": ("F32", (0,), b"")})
    tensors = read_header(data).tensors
    assert list(floats(data, tensors["one"])) == [3.0] and len(floats(data, tensors["none"])) == 0


def test_a_sound_header_of_128_bytes_is_no_pickle() -> None:
    text = json.dumps({"x": entry()}).encode().ljust(128)
    data = assemble(text, struct.pack("<f", 1.0))
    assert data[0] == 0x80 and list(floats(data, read_header(data).tensors["x"])) == [1.0]


@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("dtype", "letter", "largest"), [("F32", "f", 3.4e38), ("F16", "e", 65504.0)])
def test_finite_check_finds_one_bad_value(dtype: str, letter: str, largest: float, bad: float) -> None:
    def finite(*values: float) -> bool:
        data = write({"x": (dtype, (len(values),), struct.pack(f"<{len(values)}{letter}", *values))})
        return all_finite(data, read_header(data).tensors["x"])

    assert finite() and finite(*[largest, -largest] * 1000, 0.0, -0.0, 6e-8)
    assert not finite(*[largest] * 1000, bad, *[-1.0] * 10)
    assert not finite(math.inf, -math.inf)


def test_unsupported_storage_is_refused_on_decoding() -> None:
    data = write({"x": ("BF16", (1,), b"\0\0")})
    with pytest.raises(CheckpointError, match="BF16; F32 and F16"):
        floats(data, read_header(data).tensors["x"])


F4 = b"\0" * 4
REFUSED = {
    "empty": (b"", "has 0 bytes"),
    "short": (b"\1\0\0", "has 3 bytes"),
    "length beyond the file": (assemble(b"{}", length=3), "claims a header of 3 bytes but has only 2"),
    "length huge": (assemble(b"{}", length=2**64 - 1), "most the format allows"),
    "no header": (assemble(b""), "does not begin with '{'"),
    "not an object": (assemble([]), "does not begin with '{'"),
    "pickle": (pickle.dumps({"w": [1.0] * 9}), "pickle"),
    "short pickle": (b"\x80\x04N.", "pickle"),
    "zip": (b"PK\x03\x04" + b"\0" * 60, "pickle.*model.safetensors"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 13\n", "git lfs pull"),
    "html": (b"<!doctype html><html>404</html>", "web page"),
    "not utf-8": (assemble(b'{"\xff":1}'), "not UTF-8"),
    "not json": (assemble(b'{"a":}'), "not readable as JSON"),
    "bytes after the object": (assemble(b"{}{}"), "not readable as JSON"),
    "deep": (assemble(b'{"a":' + b"[" * 200_000), "not readable as JSON"),
    "long integer": (assemble(b'{"a":' + b"9" * 5000 + b"}"), "not readable as JSON"),
    "NaN": (assemble(b'{"a":NaN}'), "NaN is not a JSON number"),
    "duplicate tensor": (assemble(b'{"a":1,"b":2,"a":3}'), "'a' appears twice"),
    "duplicate field": (assemble(b'{"a":{"dtype":"F32","dtype":"F16"}}'), "'dtype' appears twice"),
    "metadata of numbers": (assemble({"__metadata__": {"a": 1}}), "__metadata__"),
    "metadata of another kind": (assemble({"__metadata__": ["a"]}), "__metadata__"),
    "entry of another kind": (assemble({"a": [1]}), "'a' needs exactly dtype, shape and data_offsets"),
    "entry lacks shape": (assemble({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, F4), "needs exactly"),
    "entry has more": (assemble({"a": entry() | {"x": 1}}, F4), "needs exactly"),
    "unknown dtype": (assemble({"a": entry("F31")}, F4), "unknown dtype 'F31'"),
    "dtype of another kind": (assemble({"a": entry([])}, F4), "unknown dtype"),
    "negative size": (assemble({"a": entry(shape=[-1, -1])}, F4), r"shape \[-1, -1\]"),
    "bool as size": (assemble({"a": entry(shape=[True])}, F4), "shape"),
    "float as size": (assemble({"a": entry(shape=[1.0])}, F4), "shape"),
    "shape of another kind": (assemble({"a": entry(shape="1")}, F4), "shape"),
    "three offsets": (assemble({"a": entry(offsets=[0, 4, 4])}, F4), "two integers"),
    "bool as offset": (assemble({"a": entry(offsets=[False, 4])}, F4), "two integers"),
    "negative offset": (assemble({"a": entry(offsets=[-4, 0])}, F4), "two integers"),
    "offsets reversed": (assemble({"a": entry(offsets=[4, 0])}, F4), "outside the 4 bytes"),
    "offsets beyond the file": (assemble({"a": entry(shape=[2], offsets=[0, 8])}, F4), "outside the 4 bytes"),
    "size and shape differ": (assemble({"a": entry(shape=[2])}, F4), "not the 4 bytes"),
    "product past 64 bits": (assemble({"a": entry(shape=[2**32, 2**32, 1])}, F4), "not the 4 bytes"),
    "product of thousands of giants": (assemble({"a": entry(shape=[10**4000] * 500)}, F4), "not the 4 bytes"),
    "overlap": (assemble({"a": entry(), "b": entry(offsets=[0, 4])}, F4), "'b' overlaps"),
    "hole": (assemble({"a": entry(offsets=[4, 8])}, F4 * 2), "hole of 4 bytes"),
    "trailing bytes": (assemble({"a": entry()}, F4 * 2), "4 bytes after the last tensor"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_refuses_in_words(fault: str) -> None:
    data, words = REFUSED[fault]
    with pytest.raises(CheckpointError, match=words) as caught:
        read_header(data, "some.safetensors")
    message = str(caught.value)
    assert message.startswith("some.safetensors") and len(message) < 500 and "\n" not in message


def test_hostile_names_are_escaped_in_messages() -> None:
    with pytest.raises(CheckpointError) as caught:
        read_header(assemble({"\ud800\x1b[31m" + "x" * 10_000: 1}))
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def survives(data: bytes) -> None:
    """Either the file is sound, and all of it can be decoded, or CheckpointError: nothing else may leave the reader."""
    try:
        tensors = read_header(data).tensors
    except CheckpointError:
        return
    for info in tensors.values():
        if info.dtype in ("F32", "F16"):
            floats(data, info)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from(["F32", "F16", "U8"]) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
SIZES = st.lists(st.integers(-1, 9) | st.booleans(), max_size=3) | JSON
ENTRY = st.fixed_dictionaries({"dtype": st.sampled_from(["F32", "F16", "U8"]) | JSON, "shape": SIZES, "data_offsets": SIZES}) | JSON


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    survives(data)
    survives(assemble(data))
    survives(assemble(b"{" + data))


@given(st.dictionaries(st.text(max_size=5) | st.just("__metadata__"), ENTRY, max_size=4), st.binary(max_size=40))
def test_random_headers(header: dict[str, Any], data: bytes) -> None:
    survives(assemble(header, data))


@given(st.data())
def test_mutations_of_a_sound_file(data: st.DataObject) -> None:
    sound = bytearray(write(TWO, {"format": "pt"}))
    for _ in range(data.draw(st.integers(1, 4))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(sound))
    survives(bytes(sound[: data.draw(st.integers(0, len(sound)))]))
