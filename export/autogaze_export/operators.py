"""Which operators ONNX Runtime Web 1.30 runs on WebGPU, as data, and a lint that holds a graph to them.

Measured with one-operator models on its native WebGPU execution provider. An operator outside the table lands on the CPU, which costs a
round trip in the middle of a graph; a few are worse, and fail when they are run. int64 is a CPU type there, but for constants, for
the indices that ArgMax gives to a Scatter or Gather, and for positions cast from float32 for RotaryEmbedding.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.runtimes.native import on_worker, session_options

NAMES: dict[int, str] = {1: "float32", 6: "int32", 2: "uint8", 9: "bool", 7: "int64"}  # of onnx.TensorProto.DataType
INT64 = 7
# Types of an operator's first input (of Where: its second) -> operators that have a WebGPU kernel for them.
ON_GPU: list[tuple[str, str]] = [
    ("float32 int32", "Add Sub Mul Div Where Concat Transpose Expand Tile Equal Less LessOrEqual Greater GreaterOrEqual"),
    ("float32 int32", "ReduceSum CumSum Gather GatherElements GatherND ScatterElements ScatterND"),
    ("float32", "Neg Abs Floor Ceil Sqrt Exp Reciprocal Relu Sigmoid Tanh Erf Gelu Clip Max Min Pow"),
    ("float32", "Conv MatMul Gemm Einsum Softmax LayerNormalization Slice Split Pad TopK ArgMax ReduceMean ReduceMax ReduceMin"),
    ("float32", "SimplifiedLayerNormalization SkipSimplifiedLayerNormalization QuickGelu RotaryEmbedding"),
    ("float32", "MultiHeadAttention GroupQueryAttention MatMulNBits"),
    ("bool", "And Or Not"),
    ("float32 int32 uint8 bool", "Reshape Squeeze Unsqueeze Flatten Identity Cast"),
]
KERNELS = {operator: set(types.split()) for types, operators in ON_GPU for operator in operators.split()}
# Placed on the GPU and then failing there, whatever the type: (operator, attribute) -> value that is wrong.
FAILS = {("Resize", "antialias"): 1}
CONTROL_FLOW = {"If", "Loop", "Scan"}
MOST_BUFFERS = 8  # that a kernel may bind on the least device; Split binds all its tensors at once, Concat knows to take turns
INDEX_INPUT = {"Gather": 1, "GatherElements": 1, "GatherND": 1, "ScatterElements": 1, "ScatterND": 1}


# What ONNX Runtime takes for a change between channels first and channels last, and moves about for WebGPU.
LAYOUTS = [[0, 2, 1], [0, 2, 3, 1], [0, 3, 1, 2]]


def lint(model: onnx.ModelProto, checkpoint: Checkpoint, shapes: Mapping[str, list[int]]) -> list[str]:
    """What would keep the graph from running on WebGPU alone once its dims are fixed to `shapes`; empty where nothing would."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in fixed.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim, shapes[value.name], strict=True):
            dim.dim_value = size
    return [*complaints(folded(fixed, checkpoint).graph), *rank_complaints(model.graph)]


def folded(model: onnx.ModelProto, checkpoint: Checkpoint) -> onnx.ModelProto:
    """The model as ONNX Runtime runs it: shapes inferred and constants folded, which leaves nothing of the arithmetic on shapes."""
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    bound = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    values = [np.frombuffer(checkpoint.weights(t.name), dtype=np.float32).reshape(tuple(t.dims)) for t in bound]
    if bound:
        options.add_external_initializers([t.name for t in bound], [onnxruntime.OrtValue.ortvalue_from_numpy(v) for v in values])
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        on_worker(partial(onnxruntime.InferenceSession, model.SerializeToString(), options, providers=["CPUExecutionProvider"]))
        return onnx.shape_inference.infer_shapes(onnx.load(options.optimized_model_filepath))


def rank_complaints(graph: onnx.GraphProto) -> Iterator[str]:
    """Outputs of norms whose declared rank is not the input's: native ONNX Runtime warns, the builds without exceptions refuse them."""
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.output, *graph.value_info)}
    for node in graph.node:
        if node.op_type == "SkipSimplifiedLayerNormalization":
            wanted = ranks.get(node.output[0])
            for name in node.output:
                if name in ranks and ranks[name] != wanted:
                    yield f"{node.op_type} declares {name} with {ranks[name]} dims instead of {wanted}"


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def casts_only(graph: onnx.GraphProto, value: str) -> bool:
    """Whether nothing but Casts to types without a Transpose takes a value."""
    takers = [node for node in graph.node if value in node.input]
    return bool(takers) and all(node.op_type == "Cast" and NAMES.get(attributes(node)["to"]) not in KERNELS["Transpose"] for node in takers)


def makes_positions(graph: onnx.GraphProto, node: onnx.NodeProto, types: Mapping[str, int]) -> bool:
    """Whether a node casts float32 to the int64 that RotaryEmbedding takes as positions, and nothing else takes: that runs on the GPU."""
    if node.op_type != "Cast" or types.get(node.input[0]) != onnx.TensorProto.FLOAT or attributes(node)["to"] != INT64:
        return False
    places = [(taker.op_type, place) for taker in graph.node for place, value in enumerate(taker.input) if value == node.output[0]]
    return bool(places) and set(places) == {("RotaryEmbedding", 1)} and node.output[0] not in {value.name for value in graph.output}


def complaints(graph: onnx.GraphProto) -> Iterator[str]:
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.output, *graph.value_info)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    constants = {tensor.name for tensor in graph.initializer}
    indices = {node.output[0] for node in graph.node if node.op_type == "ArgMax"}
    positions = {node.output[0] for node in graph.node if makes_positions(graph, node, types)}
    for node in graph.node:
        name = node.op_type
        taken = NAMES.get(types.get(node.input[1 if name == "Where" else 0], 0), "an unknown type")
        if name in CONTROL_FLOW:
            yield f"{name} runs its condition on the CPU"
        elif name not in KERNELS:
            yield f"{name} has no WebGPU kernel"
        elif taken not in KERNELS[name]:
            yield f"{name} of {taken} runs on the CPU"
        if name == "Split" and 1 + len(node.output) > MOST_BUFFERS:
            yield f"Split into {len(node.output)} binds more than {MOST_BUFFERS} buffers"
        for attribute in node.attribute:
            if FAILS.get((name, attribute.name)) == attribute.i:
                yield f"{name} with {attribute.name} fails when it is run"
        if name == "Transpose" and attributes(node).get("perm") in LAYOUTS and casts_only(graph, node.output[0]):
            yield "Transpose between layouts is moved behind the Cast that follows, and a Transpose of its type runs on the CPU"
        if name == "Cast" and INT64 in (types.get(node.input[0]), types.get(node.output[0])) and node.output[0] not in positions:
            yield "Cast from or to int64 runs on the CPU"
        for position, value in enumerate(node.input):
            index = value in positions or (value in indices and INDEX_INPUT.get(name) == position)
            if types.get(value) == INT64 and value not in constants and not index:
                yield f"{name} takes {value}, int64 that is computed"
