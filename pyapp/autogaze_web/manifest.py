"""What a model folder says of its graphs: `autogaze.json`, read and checked."""

from __future__ import annotations

from dataclasses import dataclass

from autogaze_web.config import ModelConfig
from autogaze_web.errors import ModelError
from autogaze_web.safetensors import strict_object

MANIFEST = "autogaze.json"
FORMAT = 1  # raised when a model folder of an older exporter can no longer be run


@dataclass(frozen=True)
class Graph:
    """One graph: its file, and what the runtime must know to run it."""

    name: str
    file: str
    sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    in_place: frozenset[str]  # inputs whose buffer the output `next.NAME` shares
    weights: tuple[str, ...]  # tensors of the checkpoint, to be bound as external data


@dataclass(frozen=True)
class Manifest:
    exporter: str
    tolerance: float  # of float outputs against PyTorch
    sizes: dict[str, object]  # the sizes that the graphs are made for
    graphs: dict[str, Graph]


def sizes_of(config: ModelConfig) -> dict[str, object]:
    """The sizes that two checkpoints must share to run on the same graphs."""
    return {
        "scales": list(config.scales),
        "input_size": config.input_size,
        "patch": config.patch,
        "vision_hidden": config.vision_hidden,
        "trunk_temporal_kernel": config.trunk_temporal_kernel,
        "trunk_spatial_kernel": config.trunk_spatial_kernel,
        "hidden": config.hidden,
        "layers": config.layers,
        "heads": config.heads,
        "head_dim": config.head_dim,
        "intermediate": config.intermediate,
        "slots": config.slots,
        "rms_norm_eps": config.rms_norm_eps,
    }


def parse_manifest(text: str | bytes) -> Manifest:
    """Read a manifest; ModelError names what is wrong with it."""
    content = strict_object(text, MANIFEST)
    if content.get("format") != FORMAT:
        raise ModelError(f"{MANIFEST} has format {content.get('format')!r}, and this version reads {FORMAT}; export the checkpoint again")
    try:
        return Manifest(
            exporter=str(content["exporter"]),
            tolerance=float(content["tolerance"]),  # type: ignore[arg-type]
            sizes=dict(content["sizes"]),  # type: ignore[call-overload]
            graphs={name: _graph(name, entry) for name, entry in content["graphs"].items()},  # type: ignore[attr-defined]
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{MANIFEST} is damaged ({error}); export the checkpoint again") from error


def _graph(name: str, entry: dict[str, object]) -> Graph:
    file = str(entry["file"])
    if "/" in file or "\\" in file or file.startswith("."):
        raise ValueError(f"graph {name} names the file {file!r}, which is not a plain name")
    lists = {key: tuple(str(value) for value in entry[key]) for key in ("inputs", "outputs", "in_place", "weights")}  # type: ignore[attr-defined]
    return Graph(name, file, str(entry["sha256"]), lists["inputs"], lists["outputs"], frozenset(lists["in_place"]), lists["weights"])


def check_sizes(manifest: Manifest, config: ModelConfig) -> None:
    """Refuse a checkpoint of other sizes than the graphs', by name."""
    found = sizes_of(config)
    for name, wanted in manifest.sizes.items():
        if found.get(name) != wanted:
            raise ModelError(
                f"These graphs are for a model with {name} {wanted}, and the checkpoint has {found.get(name)}; export it to its own graphs."
            )
