"""Whole checkpoints: what must be there, what must fit, and what a person is told otherwise."""

from __future__ import annotations

import hashlib
import math
import struct
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autogaze_web.checkpoint import FILES, expected_tensors, open_checkpoint, read_checkpoint
from autogaze_web.config import parse_config
from autogaze_web.errors import CheckpointError
from autogaze_web.safetensors import write
from tiny_checkpoint import tiny_files, tiny_tensors

UPSTREAM = Path(__file__).parent / "data" / "upstream"
TENSORS = tiny_tensors()
FILES_OF_TINY = tiny_files()
PREFIX = "gazing_model."
NORM = f"{PREFIX}vision_model.norm.bias"
LOSS = f"{PREFIX}gaze_decoder.task_loss_prediction_head.weight"
Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def with_weights(tensors: Tensors) -> dict[str, bytes]:
    return FILES_OF_TINY | {"model.safetensors": write(tensors)}


def test_expected_tensors_of_the_real_model() -> None:
    shapes = expected_tensors(parse_config((UPSTREAM / "config.json").read_bytes()))
    assert len(shapes) == 49 and sum(map(math.prod, shapes.values())) == 3_258_240
    assert shapes["gazing_model.vision_model.temporal_conv.weight"] == (192, 3, 1, 16, 16)
    assert shapes["gazing_model.vision_model.blocks.0.conv3d.weight"] == (192, 192, 3, 3, 3)
    assert shapes["gazing_model.vision_model.out_proj.weight"] == (192, 192, 1, 1, 1)
    assert shapes["gazing_model.connector.pos_embed"] == (196, 192)
    assert shapes["gazing_model.gaze_decoder.model.embed_tokens.weight"] == (266, 192)
    assert shapes["gazing_model.gaze_decoder.model.layers.3.mlp.down_proj.weight"] == (192, 384)
    assert shapes["gazing_model.gaze_decoder.lm_head.weight"] == (2660, 192)
    assert shapes[LOSS] == (10, 192)


def test_opens_a_sound_checkpoint() -> None:
    checkpoint = open_checkpoint(FILES_OF_TINY)
    assert checkpoint.config.cells_each_frame == 20 and checkpoint.preprocessor.size == 64
    assert checkpoint.tensors.keys() == expected_tensors(checkpoint.config).keys()
    assert checkpoint.sha256 == hashlib.sha256(FILES_OF_TINY["model.safetensors"]).hexdigest()
    for name, (_, shape, stored) in TENSORS.items():
        assert checkpoint.tensors[name].shape == shape and checkpoint.weights(name).tobytes() == stored


def test_tiny_files_depend_on_the_seed_alone() -> None:
    assert tiny_files(3) == tiny_files(3) != tiny_files(4)


def test_float16_storage_reads_as_float32() -> None:
    _, shape, stored = TENSORS[LOSS]
    values = array("f", stored)
    halves = struct.pack(f"<{len(values)}e", *values)
    read = open_checkpoint(with_weights(TENSORS | {LOSS: ("F16", shape, halves)})).weights(LOSS)
    assert read.itemsize == 4 and list(read) == list(struct.unpack(f"<{len(values)}e", halves))


def without(*names: str) -> Tensors:
    return {name: tensor for name, tensor in TENSORS.items() if name not in names}


def all_but_first() -> Tensors:
    return dict(list(TENSORS.items())[:1])


WEIGHTS_REFUSED: dict[str, tuple[Callable[[], Tensors], str]] = {
    "missing": (lambda: without(LOSS), f"does not fit config.json, 1 fault: {LOSS} \\[4, 32\\] is missing"),
    "extra": (lambda: TENSORS | {"task.head": ("F32", (1,), b"\0" * 4)}, "1 fault: 'task.head' is not a tensor of this network"),
    "shape": (lambda: TENSORS | {NORM: ("F32", (4, 6), b"\0" * 96)}, f"{NORM} has the shape \\[4, 6\\], expected \\[24\\]"),
    "dtype": (lambda: TENSORS | {NORM: ("BF16", (24,), b"\0" * 48)}, f"{NORM} is stored as BF16, supported: F32, F16"),
    "nan": (lambda: TENSORS | {NORM: ("F32", (24,), struct.pack("<24f", *[0] * 23, math.nan))}, f"damaged, 1 fault: {NORM} holds NaN"),
    "inf in halves": (lambda: TENSORS | {NORM: ("F16", (24,), struct.pack("<24e", math.inf, *[0] * 23))}, f"{NORM} holds NaN or inf"),
    "several": (lambda: without(LOSS, NORM), f"2 faults: {NORM} .* is missing; {LOSS} .* is missing"),
    "most": (all_but_first, "30 faults: .*; and 25 more"),
}


@pytest.mark.parametrize("fault", WEIGHTS_REFUSED)
def test_refuses_weights_by_name(fault: str) -> None:
    tensors, words = WEIGHTS_REFUSED[fault]
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(with_weights(tensors()))


def test_refuses_another_models_configuration() -> None:
    files = FILES_OF_TINY | {"config.json": (UPSTREAM / "config.json").read_bytes()}
    with pytest.raises(CheckpointError, match=r"does not fit config\.json, 49 faults"):
        open_checkpoint(files)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES_OF_TINY.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "README.md").write_text("a further file")
    return tmp_path


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(folder)
    return str(caught.value)


def test_reads_a_folder(folder: Path) -> None:
    assert read_checkpoint(folder).sha256 == open_checkpoint(FILES_OF_TINY).sha256


def test_names_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "nowhere cannot be read: No such file" in refusal(tmp_path / "nowhere")


def test_a_file_is_no_folder(folder: Path) -> None:
    assert "Not a directory" in refusal(folder / "config.json")


@pytest.mark.parametrize("name", FILES)
def test_names_the_missing_file_and_what_is_there(folder: Path, name: str) -> None:
    (folder / name).unlink()
    message = refusal(folder)
    assert f"lacks {name} and has" in message and "'README.md'" in message


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "and has nothing." in refusal(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_a_pickle_is_not_loaded(folder: Path, name: str) -> None:
    (folder / "model.safetensors").rename(folder / name)
    assert f"'{name}' is a PyTorch pickle; pickles can run code and are never loaded" in refusal(folder)


def test_sharded_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    assert "sharded (model.safetensors.index.json), which is not supported" in refusal(folder)


def test_a_directory_in_the_place_of_a_file(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").mkdir()
    assert "lacks model.safetensors" in refusal(folder)


def test_a_huge_configuration_is_not_read(folder: Path) -> None:
    with (folder / "config.json").open("r+b") as file:
        file.truncate(10**9)  # sparse: takes no room on the disk
    assert "config.json has 1000000000 bytes" in refusal(folder)


def test_dropped_files_are_named_too() -> None:
    with pytest.raises(CheckpointError, match=r"the set of files given lacks config.json, .* and has 'weights.bin'.* pickle"):
        open_checkpoint({"weights.bin": b""})


@settings(max_examples=30)
@given(st.sampled_from(FILES), st.data())
def test_damaged_files_are_opened_or_refused(name: str, data: st.DataObject) -> None:
    content = bytearray(FILES_OF_TINY[name])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(len(content), 4000) - 1))] = data.draw(st.integers(0, 255))
    try:
        open_checkpoint(FILES_OF_TINY | {name: bytes(content[: data.draw(st.sampled_from([None, 9, 2000]))])})
    except CheckpointError as error:
        assert len(str(error)) < 2000
