"""PyTorch modules -> ONNX files whose weights are external data under their safetensors names, and the manifest that describes them."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnx
import onnxscript.optimizer
import torch
from torch import nn

from autogaze_export.graphs.specs import Dim, GraphSpec, Port, Shape, graph_specs
from autogaze_export.model import AutoGaze
from autogaze_export.operators import lint
from autogaze_web.checkpoint import Checkpoint, expected_tensors
from autogaze_web.config import ModelConfig
from autogaze_web.manifest import FORMAT, MANIFEST, sizes_of
from autogaze_web.whole_files import whole_files

OPSET = 20  # what ONNX Runtime Web 1.30 has WebGPU kernels for; contrib operators stand for what came later
IR_VERSION = 10
TOLERANCE = 1e-4  # of float outputs against PyTorch
PREFIX = "network."  # where a graph module keeps the network
# Sizes of the example inputs: all different, so that the exporter cannot take two dims for one.
EXAMPLE = {
    "batch": 2, "runs": 10, "near_runs": 7, "more": 96, "positions": 300, "tiles": 5, "height": 37, "width": 41, "channels": 3,
    "tile_rows": 2, "tile_columns": 3, "column_blocks": 4, "row_blocks": 6, "column_window": 7, "row_window": 9,
    "layers": 8, "cell_rows": 28, "cell_columns": 42, "row_groups": 59, "column_groups": 61,
    "luma_height": 45, "luma_stride": 53, "blue_height": 19, "blue_stride": 23, "red_height": 29, "red_stride": 31,
}  # fmt: skip
MOST = {"channels": 4}
LEAST = {"channels": 3}


def export_graphs(checkpoint: Checkpoint, source: str, report: Callable[[str], None] = lambda name: None) -> dict[str, bytes]:
    """Every graph of a checkpoint, and the manifest: file name -> content.

    source: where the weights came from, for the metadata. report is called with the name of each graph before it is made.
    """
    network = stand_in(checkpoint.config)
    files: dict[str, bytes] = {}
    entries = {}
    for spec in graph_specs(checkpoint.config):
        report(spec.name)
        model = export_graph(spec, network)
        bind_by_name(model, checkpoint)
        add_metadata(model, spec, checkpoint, source)
        complaints = lint(model, checkpoint, example_dims(spec))
        if complaints:
            raise RuntimeError(f"graph {spec.name} would not run on WebGPU alone: " + "; ".join(complaints))
        content = model.SerializeToString(deterministic=True)
        files[f"{spec.name}.onnx"] = content
        entries[spec.name] = manifest_entry(spec, model, content)
    unbound = checkpoint.tensors.keys() - {name for entry in entries.values() for name in entry["weights"]}
    if unbound:
        raise RuntimeError(f"no graph takes {', '.join(sorted(unbound))}; the exporter has merged or folded these weights")
    manifest = {
        "format": FORMAT,
        "exporter": exporter_version(),
        "opset": OPSET,
        "dtype": "float32",
        "tolerance": TOLERANCE,
        "sizes": sizes_of(checkpoint.config),
        "graphs": entries,
    }
    files[MANIFEST] = (json.dumps(manifest, indent=1) + "\n").encode()
    return files


def stand_in(config: ModelConfig) -> AutoGaze:
    """A network of the right sizes whose weights all differ.

    Graphs hold no weights, and must not depend on them: the exporter makes one of tensors that are equal, such as norms that are all
    ones, and a checkpoint bound later has others.
    """
    network = AutoGaze(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.copy_(torch.rand(parameter.shape, generator=generator))
    return network


def write_model(checkpoint: Checkpoint, source: str, folder: Path, report: Callable[[str], None] = lambda name: None) -> list[Path]:
    """Write a model folder: graphs, manifest, and the checkpoint's own three files; -> the paths written."""
    files = {**export_graphs(checkpoint, source, report), **checkpoint.files}
    with whole_files(folder) as partial:
        for name, content in files.items():
            (partial / name).write_bytes(content)
    return [folder / name for name in files]


def export_graph(spec: GraphSpec, network: AutoGaze) -> onnx.ModelProto:
    """Export one graph with named dims; weights are still inside, as initializers that begin with PREFIX."""
    module = spec.module(network).eval()
    arguments, dims, names = arrange(spec, module)
    with torch.no_grad(), quiet():
        program = torch.onnx.export(
            module,
            kwargs=arguments,
            dynamic_shapes=dims,
            input_names=names,
            output_names=list(spec.outputs),
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    # Folding is for what the exporter left of shapes; weights stay as they are, to be bound later by name.
    onnxscript.optimizer.optimize_ir(program.model, should_fold=lambda node: False if reads_weight(node) else None)
    model = program.model_proto
    model.ir_version = IR_VERSION
    return model


def reads_weight(node: Any) -> bool:
    return any(value is not None and (value.name or "").startswith(PREFIX) for value in node.inputs)


def arrange(spec: GraphSpec, module: nn.Module) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Example arguments, their dynamic dims, and the flat input names, in the order of the module's forward."""
    arguments: dict[str, Any] = {}
    dims: dict[str, Any] = {}
    names: list[str] = []
    symbols = {name: torch.export.Dim(name, min=LEAST.get(name, 1), max=MOST.get(name, 1 << 24)) for name in EXAMPLE}
    for parameter in inspect.signature(module.forward).parameters:
        ports = {name: port for name, port in spec.inputs.items() if (port.group or name) == parameter}
        examples = [torch.zeros(example_shape(port.shape), dtype=getattr(torch, port.dtype)) for port in ports.values()]
        dynamic = [dynamic_dims(port, symbols) for port in ports.values()]
        single = parameter in ports
        arguments[parameter] = examples[0] if single else examples
        dims[parameter] = dynamic[0] if single else dynamic
        names += ports
    return arguments, dims, names


def example_shape(shape: Shape) -> list[int]:
    return [resolve(dim, EXAMPLE) for dim in shape]


def resolve(dim: Dim, sizes: Mapping[str, int]) -> int:
    """The size of a dim: 7, the size named "tile_rows", or a multiple of it, "14*tile_rows"."""
    if isinstance(dim, int):
        return dim
    factor, _, name = dim.rpartition("*")
    return int(factor or 1) * sizes[name]


def dynamic_dims(port: Port, symbols: Mapping[str, Any]) -> dict[int, Any]:
    found = {}
    for axis, dim in enumerate(port.shape):
        if isinstance(dim, str):
            factor, _, name = dim.rpartition("*")
            found[axis] = int(factor) * symbols[name] if factor else symbols[name]
    return found


def example_dims(spec: GraphSpec) -> dict[str, list[int]]:
    return {name: example_shape(port.shape) for name, port in spec.inputs.items()}


def bind_by_name(model: onnx.ModelProto, checkpoint: Checkpoint) -> None:
    """Turn every weight into external data named as in safetensors, so that any checkpoint of these sizes can be bound."""
    expected = expected_tensors(checkpoint.config)
    renamed = {}
    for tensor in model.graph.initializer:
        if not tensor.name.startswith(PREFIX):
            continue
        name = tensor.name.removeprefix(PREFIX)
        if tuple(tensor.dims) != expected.get(name):
            raise RuntimeError(f"the exporter made a weight {name} of shape {list(tensor.dims)} that the checkpoint does not have")
        renamed[tensor.name] = name
        tensor.name = name
        for content in ("raw_data", "float_data"):
            tensor.ClearField(content)
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=name)
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)


def add_metadata(model: onnx.ModelProto, spec: GraphSpec, checkpoint: Checkpoint, source: str) -> None:
    """Where the graph came from, in the file itself; nothing of the machine that made it."""
    strip_traces(model)
    model.producer_name, model.producer_version = "autogaze-web", exporter_version()
    model.graph.name = spec.name
    entries = {
        "source": source,
        "weights_sha256": checkpoint.sha256,
        "exporter": exporter_version(),
        "torch": torch.__version__,
        "opset": str(OPSET),
        "dtype": "float32",
        "tolerance": str(TOLERANCE),
        "in_place": ",".join(spec.in_place),
    }
    onnx.helper.set_model_props(model, entries)


def strip_traces(model: onnx.ModelProto) -> None:
    """The exporter notes stack traces with paths of this machine in every node."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.ClearField("doc_string")
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    del model.graph.metadata_props[:]


def manifest_entry(spec: GraphSpec, model: onnx.ModelProto, content: bytes) -> dict[str, Any]:
    return {
        "file": f"{spec.name}.onnx",
        "sha256": hashlib.sha256(content).hexdigest(),
        "inputs": {value.name: describe(value, spec.inputs[value.name].shape) for value in model.graph.input},
        "outputs": [value.name for value in model.graph.output],
        "in_place": list(spec.in_place),
        "weights": sorted(t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL),
    }


def describe(value: onnx.ValueInfoProto, shape: Shape) -> dict[str, Any]:
    dtype: dict[int, str] = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.INT32: "int32", onnx.TensorProto.UINT8: "uint8"}
    return {"dtype": dtype[value.type.tensor_type.elem_type], "shape": list(shape)}


def exporter_version() -> str:
    try:
        return version("autogaze-web")
    except PackageNotFoundError:
        return "unreleased"


class quiet:
    """Without the exporter's remarks on torchvision and on dims that share a name."""

    def __enter__(self) -> None:
        self.level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *_: object) -> None:
        logging.disable(self.level)
        self.caught.__exit__(None, None, None)
