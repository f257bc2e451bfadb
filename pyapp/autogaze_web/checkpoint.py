"""A Hugging Face folder of AutoGaze: three files, checked whole before anything uses them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from typing import TYPE_CHECKING

from .config import CONFIG, MAX_TEXT_BYTES, PREPROCESSOR, ModelConfig, PreprocessorConfig, parse_config, parse_preprocessor
from .errors import CheckpointError, quoted
from .safetensors import TensorInfo, all_finite, floats, read_header

if TYPE_CHECKING:
    from array import array
    from pathlib import Path

WEIGHTS = "model.safetensors"
FILES = (CONFIG, PREPROCESSOR, WEIGHTS)
STORAGE = ("F32", "F16")
_MAX_WEIGHTS_BYTES = 2_000_000_000  # AutoGaze has 13 MB; the bound refuses a wrong file before it is read
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_FAULTS_SHOWN = 5
_NAMES_SHOWN = 12


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Configuration and weights that fit each other."""

    config: ModelConfig
    preprocessor: PreprocessorConfig
    data: bytes | memoryview  # all of model.safetensors
    tensors: dict[str, TensorInfo]  # exactly those of expected_tensors(config), F32 or F16, finite
    sha256: str  # of `data`, hexadecimal
    files: Mapping[str, bytes]  # the three files as they were given

    def weights(self, name: str) -> array[float]:
        """A tensor as float32 (array type 'f'), row-major; KeyError for a name that is not in `tensors`."""
        return floats(self.data, self.tensors[name])


def expected_tensors(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every weight of the network under upstream's name, with its shape."""
    return {f"gazing_model.{name}": shape for name, shape in chain(_vision(config), _decoder(config))}


def _vision(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    wide, kernel = config.vision_hidden, config.trunk_spatial_kernel
    yield "vision_model.temporal_conv.weight", (wide, 3, config.temporal_patch, config.patch, config.patch)
    yield "vision_model.temporal_conv.bias", (wide,)
    yield "vision_model.norm.weight", (wide,)
    yield "vision_model.norm.bias", (wide,)
    for block in range(config.vision_depth):
        yield f"vision_model.blocks.{block}.conv3d.weight", (wide, wide, config.trunk_temporal_kernel, kernel, kernel)
        yield f"vision_model.blocks.{block}.conv3d.bias", (wide,)
    yield "vision_model.out_proj.weight", (config.vision_out, wide, 1, 1, 1)
    yield "vision_model.out_proj.bias", (config.vision_out,)
    yield "connector.pos_embed", (config.connector_tokens, config.hidden)


def _decoder(config: ModelConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = config.hidden, config.intermediate
    queries, keys = config.heads * config.head_dim, config.key_value_heads * config.head_dim
    yield "gaze_decoder.model.embed_tokens.weight", (config.vocab, hidden)
    for index in range(config.layers):
        layer = f"gaze_decoder.model.layers.{index}"
        yield f"{layer}.input_layernorm.weight", (hidden,)
        yield f"{layer}.self_attn.q_proj.weight", (queries, hidden)
        yield f"{layer}.self_attn.k_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.v_proj.weight", (keys, hidden)
        yield f"{layer}.self_attn.o_proj.weight", (hidden, queries)
        yield f"{layer}.post_attention_layernorm.weight", (hidden,)
        yield f"{layer}.mlp.gate_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.up_proj.weight", (inner, hidden)
        yield f"{layer}.mlp.down_proj.weight", (hidden, inner)
    yield "gaze_decoder.model.norm.weight", (hidden,)
    yield "gaze_decoder.lm_head.weight", (config.slots * config.vocab, hidden)
    yield "gaze_decoder.task_loss_prediction_head.weight", (config.slots, hidden)


def open_checkpoint(files: Mapping[str, bytes]) -> Checkpoint:
    """A checkpoint from the whole contents of its three files by name; further files are not looked at.

    CheckpointError when one is missing or damaged, when its kind is not supported, or when weights and configuration do not fit.
    """
    _check_names(files.keys(), "the set of files given")
    config, preprocessor = parse_config(files[CONFIG]), parse_preprocessor(files[PREPROCESSOR])
    data = files[WEIGHTS]
    tensors = read_header(data, WEIGHTS).tensors
    _refuse_faults(f"does not fit {CONFIG}", list(_misfits(tensors, expected_tensors(config))))
    _refuse_faults("is damaged", [f"{name} holds NaN or infinity" for name, info in tensors.items() if not all_finite(data, info)])
    return Checkpoint(config, preprocessor, data, tensors, sha256(data).hexdigest(), {name: files[name] for name in FILES})


def read_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in a folder on disk; CheckpointError as open_checkpoint, and for what cannot be read."""
    try:
        names = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
        _check_names(names.keys(), str(folder))
        for name in FILES:
            limit = _MAX_WEIGHTS_BYTES if name == WEIGHTS else MAX_TEXT_BYTES
            if names[name] > limit:
                raise CheckpointError(f"{folder / name} has {names[name]} bytes, and {limit} is the most it may have; it is another file.")
        files = {name: (folder / name).read_bytes() for name in FILES}
    except OSError as error:
        raise CheckpointError(f"The checkpoint folder {folder} cannot be read: {error.strerror or error}.") from error
    return open_checkpoint(files)


def _check_names(names: Collection[str], place: str) -> None:
    missing = [name for name in FILES if name not in names]
    if not missing:
        return
    reason = ""
    if WEIGHTS in missing and f"{WEIGHTS}.index.json" in names:
        reason = f" The weights are sharded ({WEIGHTS}.index.json), which is not supported: save them as one {WEIGHTS}."
    elif WEIGHTS in missing and (pickles := sorted(name for name in names if name.endswith(_PICKLES))):
        reason = (
            f" {quoted(pickles[0])} is a PyTorch pickle; pickles can run code and are never loaded here."
            f" Use a folder that has the weights as {WEIGHTS}."
        )
    shown = ", ".join(quoted(name) for name in sorted(names)[:_NAMES_SHOWN]) or "nothing"
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    raise CheckpointError(f"A checkpoint is {', '.join(FILES)}; {place} lacks {', '.join(missing)} and has {shown}{more}.{reason}")


def _misfits(found: Mapping[str, TensorInfo], expected: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    for name, shape in expected.items():
        info = found.get(name)
        if info is None:
            yield f"{name} {list(shape)} is missing"
        elif info.shape != shape:
            yield f"{name} has the shape {quoted(list(info.shape))}, expected {list(shape)}"
        elif info.dtype not in STORAGE:
            yield f"{name} is stored as {info.dtype}, supported: {', '.join(STORAGE)}"
    yield from (f"{quoted(name)} is not a tensor of this network" for name in found if name not in expected)


def _refuse_faults(verdict: str, faults: list[str]) -> None:
    if not faults:
        return
    more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    raise CheckpointError(
        f"{WEIGHTS} {verdict}, {count}: {'; '.join(faults[:_FAULTS_SHOWN])}{more}. Take all files of a checkpoint from one folder."
    )
