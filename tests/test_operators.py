"""The lint: what would land on the CPU of a WebGPU session is found before anybody waits for it."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from autogaze_export.operators import complaints, lint
from autogaze_web.model_folder import read_model

FLOAT, INT32, INT64 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64


def graph(nodes: list[onnx.NodeProto], **types: int) -> onnx.GraphProto:
    """A graph of nodes over values of given types, each [2, 3]."""
    values = [helper.make_tensor_value_info(name, dtype, [2, 3]) for name, dtype in types.items()]
    return helper.make_graph(nodes, "planted", values, [])


@pytest.mark.parametrize(
    ("node", "types", "complaint"),
    [
        (helper.make_node("Add", ["a", "b"], ["c"]), {"a": FLOAT, "b": FLOAT, "c": FLOAT}, None),
        (helper.make_node("Add", ["a", "b"], ["c"]), {"a": INT64, "b": INT64, "c": INT64}, "Add of int64 runs on the CPU"),
        (helper.make_node("Round", ["a"], ["c"]), {"a": FLOAT, "c": FLOAT}, "Round has no WebGPU kernel"),
        (helper.make_node("Slice", ["a", "b", "b"], ["c"]), {"a": INT32, "b": INT32, "c": INT32}, "Slice of int32 runs on the CPU"),
        (helper.make_node("Loop", ["a", "b"], ["c"]), {"a": INT64, "b": FLOAT, "c": FLOAT}, "Loop runs its condition on the CPU"),
        (helper.make_node("Cast", ["a"], ["c"], to=INT32), {"a": INT64, "c": INT32}, "Cast from or to int64 runs on the CPU"),
        (helper.make_node("Resize", ["a"], ["c"], antialias=1), {"a": FLOAT, "c": FLOAT}, "Resize with antialias fails when it is run"),
        (helper.make_node("Split", ["a"], list("defghijk"), axis=1, num_outputs=8), {"a": FLOAT}, "Split into 8 binds more than 8 buffers"),
        (helper.make_node("Transpose", ["a"], ["c"], perm=[1, 0]), {"a": FLOAT, "c": FLOAT}, None),
        (helper.make_node("NoSuchThing", ["a"], ["c"]), {"a": FLOAT, "c": FLOAT}, "NoSuchThing has no WebGPU kernel"),
    ],
)
def test_the_lint_names_what_lands_on_the_cpu(node: onnx.NodeProto, types: dict[str, int], complaint: str | None) -> None:
    found = list(complaints(graph([node], **types)))
    assert complaint in found if complaint else not found


@pytest.mark.parametrize(("perm", "found"), [([0, 2, 1], 1), ([1, 2, 0], 0)])
def test_a_transpose_that_would_end_behind_its_cast_is_named(perm: list[int], found: int) -> None:
    nodes = [helper.make_node("Transpose", ["a"], ["b"], perm=perm), helper.make_node("Cast", ["b"], ["c"], to=TensorProto.UINT8)]
    said = list(complaints(graph(nodes, a=FLOAT, b=FLOAT, c=TensorProto.UINT8)))
    assert len(said) == found and all(line.startswith("Transpose between layouts") for line in said)


def test_an_argmax_may_index_and_nothing_else() -> None:
    best = helper.make_node("ArgMax", ["a"], ["i"], axis=1)
    types = {"a": FLOAT, "i": INT64, "u": FLOAT, "c": FLOAT}
    assert not list(complaints(graph([best, helper.make_node("ScatterElements", ["a", "i", "u"], ["c"], axis=1)], **types)))
    as_data = helper.make_node("Expand", ["a", "i"], ["c"])
    assert list(complaints(graph([best, as_data], **types))) == ["Expand takes i, int64 that is computed"]


@pytest.mark.parametrize(("source", "place", "found"), [(FLOAT, 1, 0), (INT32, 1, 2), (FLOAT, 0, 2)])
def test_float32_may_become_positions_and_nothing_else(source: int, place: int, found: int) -> None:
    inputs = ["x", "x", "cos", "sin"]
    inputs[place] = "i"
    nodes = [helper.make_node("Cast", ["a"], ["i"], to=INT64), helper.make_node("RotaryEmbedding", inputs, ["c"], domain="com.microsoft")]
    said = list(complaints(graph(nodes, a=source, i=INT64, x=FLOAT, cos=FLOAT, sin=FLOAT, c=FLOAT)))
    assert "Cast from or to int64 runs on the CPU" in said if found else not said


def test_a_planted_operator_is_found_in_an_exported_graph(tiny_model: Path) -> None:
    model = read_model(tiny_model)
    shapes = {"tiles": [2, 3, 64, 64], "tile_index": [2], "past": [2, 17, 48]}
    encode = onnx.load_from_string(model.graphs["encode"])
    assert lint(encode, model.checkpoint, shapes) == []
    relu = next(node for node in encode.graph.node if node.op_type == "Relu")
    relu.op_type = "Round"
    assert lint(encode, model.checkpoint, shapes) == ["Round has no WebGPU kernel"]
