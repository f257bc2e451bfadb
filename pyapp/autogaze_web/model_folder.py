"""A model ready to run: graphs, their manifest and a checkpoint of the sizes they are made for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from autogaze_web.checkpoint import Checkpoint, read_checkpoint
from autogaze_web.errors import ModelError
from autogaze_web.manifest import MANIFEST, Manifest, check_sizes, parse_manifest

GRAPHS = (  # that the pipeline runs
    *("rgb", "rgb_turned"),
    *("prepare", "prepare_tiled", "encode", "step_first", "step_next", "grow", "shift"),
    *("paint", "paint_blend", "paint_image", "paint_image_blend", "paint_rows", "paint_rows_blend"),
)


@dataclass(frozen=True)
class Model:
    """Graphs and weights that fit each other."""

    name: str  # for people: a folder's or a file's name, never a path
    manifest: Manifest
    checkpoint: Checkpoint
    graphs: Mapping[str, bytes]  # ONNX files by graph name; their weights are bound by tensor name


def open_model(name: str, manifest_text: bytes, graph_files: Mapping[str, bytes], checkpoint: Checkpoint) -> Model:
    """Check graphs (by file name) against the manifest, and the checkpoint's sizes against the graphs'."""
    manifest = parse_manifest(manifest_text)
    check_sizes(manifest, checkpoint.config)
    if missing := [graph for graph in GRAPHS if graph not in manifest.graphs]:
        raise ModelError(f"{MANIFEST} of the model {name} lists no graph {', '.join(missing)}; export the checkpoint again.")
    graphs = {}
    for graph in manifest.graphs.values():
        content = graph_files.get(graph.file)
        if content is None:
            raise ModelError(f"The model {name} lacks {graph.file}, which its {MANIFEST} lists; export the checkpoint again.")
        if sha256(content).hexdigest() != graph.sha256:
            raise ModelError(f"{graph.file} of the model {name} is not the file that {MANIFEST} describes; export the checkpoint again.")
        graphs[graph.name] = content
    return Model(name, manifest, checkpoint, graphs)


def read_model(folder: Path) -> Model:
    """The model in a folder that `autogaze-web export` wrote."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        what = "does not exist" if not folder.exists() else f"has no {MANIFEST}"
        raise ModelError(f"{folder} is no exported model: it {what}. Run: autogaze-web export CHECKPOINT {folder}")
    checkpoint = read_checkpoint(folder)
    try:
        files = {path.name: path.read_bytes() for path in folder.glob("*.onnx")}
        return open_model(folder.resolve().name, manifest.read_bytes(), files, checkpoint)
    except OSError as error:
        raise ModelError(f"The model folder {folder} cannot be read: {error.strerror or error}.") from error
