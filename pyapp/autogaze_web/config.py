"""The two JSON files beside AutoGaze's weights, read strictly: every size the network and the decoding need, or a refusal by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from .errors import CheckpointError, quoted
from .layout import Layout
from .safetensors import strict_object

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
MAX_TEXT_BYTES = 1_000_000  # upstream's files have 8 KB; the bound keeps a hostile file from costing memory
_MAX_SIZE = 65_536  # of any width, so that no later product or loop gets out of hand
_MAX_LAYERS = 256
_MAX_SCALES = 16
_RESAMPLE = {2: "bilinear"}  # Pillow's numbers of filters; only those that the prepare graph computes


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretch of rotary wavelengths."""

    factor: float  # low frequencies are divided by this
    low_freq_factor: float  # wavelengths above original / low_freq_factor are divided in full
    high_freq_factor: float  # wavelengths below original / high_freq_factor stay; between the two, interpolated
    original_max_position_embeddings: int  # positions


@dataclass(frozen=True)
class ModelConfig:
    """An AutoGaze network and its default decoding; the numbers in the remarks are the real model's."""

    scales: tuple[int, ...]  # squares that a cell grid spans, input pixels, coarse to fine: (32, 64, 112, 224)
    cells_each_frame: int  # tokens of a frame over all scales: 265 (upstream: num_vision_tokens_each_frame)
    input_size: int  # side of the square the network sees, pixels: 224
    max_num_frames: int  # frames of one window: 16
    gazing_ratio: float  # budget of a frame as a share of its cells, in (0, 1]: 0.75
    task_loss_requirement: float | None  # a frame ends when the predicted loss is at most this: 0.7; None = only the budget ends it
    vision_hidden: int  # channels of the patch embedding and of the causal block: 192
    vision_out: int  # channels of a vision token, equal to `hidden`: 192
    patch: int  # side of a patch, input pixels: 16 (upstream: kernel_size)
    vision_depth: int  # causal blocks; only 1 is supported
    temporal_patch: int  # frames in a patch; only 1 is supported
    trunk_temporal_kernel: int  # frames a causal block sees, its own last: 3
    trunk_spatial_kernel: int  # side of its kernel, patches, odd: 3
    connector_tokens: int  # vision tokens of a frame, (input_size / patch)²: 196
    hidden: int  # width of the decoder: 192
    layers: int  # decoder layers: 4
    heads: int  # query heads: 6
    key_value_heads: int  # equal to `heads`: grouped queries are not supported
    head_dim: int  # width of a head, even (rotary pairs): 32
    intermediate: int  # width of the SwiGLU: 384
    vocab: int  # cells and the end token: 266
    slots: int  # gaze tokens predicted at once: 10 (upstream: num_multi_token_pred)
    rms_norm_eps: float  # 1e-5
    rope_theta: float  # base of the rotary wavelengths: 500000
    rope_scaling: RopeScaling | None  # None = plain rotary embeddings
    eos_token: int  # id of end and padding, equal to `cells_each_frame`: 265

    @property
    def layout(self) -> Layout:
        """Which token is which cell."""
        return Layout(self.scales, self.patch)


@dataclass(frozen=True)
class PreprocessorConfig:
    """From 8-bit RGB to what the network takes: ((x · rescale_factor) − offset − mean) / std."""

    size: int  # the shortest edge after the first resize, pixels: 224
    resample: str  # filter of that resize: "bilinear"
    rescale_factor: float  # per grey level: 1/127.5
    offset: bool  # whether 1 is subtracted after rescaling
    mean: tuple[float, float, float]  # RGB, after rescaling
    std: tuple[float, float, float]  # RGB, after rescaling, above 0


class _Section:
    """One JSON object of a file, with its path for messages; every getter refuses by name."""

    def __init__(self, values: Mapping[str, object], source: str, path: str = "") -> None:
        self._values, self._source, self._path = values, source, path

    def refusal(self, key: str, wanted: str) -> CheckpointError:
        return CheckpointError(f"{self._source}: {self._path}{key} is {_json(self._values.get(key))}; {wanted}.")

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None  # upstream writes null for what is not set

    def value(self, key: str) -> object:
        if key not in self._values:
            raise CheckpointError(f"{self._source}: {self._path}{key} is missing; take the file from the folder that the weights are from.")
        return self._values[key]

    def section(self, key: str) -> _Section:
        value = self.value(key)
        if not isinstance(value, dict):
            raise self.refusal(key, "a JSON object is needed")
        return _Section(value, self._source, f"{self._path}{key}.")

    def integer(self, key: str, low: int = 1, high: int = _MAX_SIZE) -> int:
        value = self.value(key)
        if type(value) is not int or not low <= value <= high:  # type(): a bool is no size
            raise self.refusal(key, f"an integer from {low} to {high} is needed")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.value(key)
        if not _is_number(value) or not low <= value <= high:
            raise self.refusal(key, f"a number from {low:g} to {high:g} is needed")
        return float(value)

    def rgb(self, key: str, low: float, high: float) -> tuple[float, float, float]:
        value = self.value(key)
        if not isinstance(value, list) or len(value) != 3 or not all(_is_number(item) and low <= item <= high for item in value):
            raise self.refusal(key, f"three numbers from {low:g} to {high:g} are needed")
        red, green, blue = map(float, value)
        return red, green, blue

    def flag(self, key: str) -> bool:
        value = self.value(key)
        if not isinstance(value, bool):
            raise self.refusal(key, "true or false is needed")
        return value

    def must_be(self, key: str, supported: object, *, reason: str = "supported") -> None:
        value = self.value(key)
        if type(value) is not type(supported) or value != supported:
            raise self.refusal(key, f"{reason}: {_json(supported)}")

    def may_only_be(self, key: str, supported: object, *, reason: str = "supported") -> None:
        """As must_be, for a field that upstream fills in itself when it is missing or null."""
        if self.has(key):
            self.must_be(key, supported, reason=reason)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _json(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else quoted(value)  # a person reads JSON: true, not True


def _open(text: str | bytes, source: str) -> _Section:
    if len(text) > MAX_TEXT_BYTES:
        raise CheckpointError(f"{source} has {len(text)} bytes, and {MAX_TEXT_BYTES} is the most one may have; it is another file.")
    return _Section(strict_object(text, source), source)


def parse_preprocessor(text: str | bytes) -> PreprocessorConfig:
    """What preprocessor_config.json asks for; CheckpointError, naming the field, for what is not supported."""
    top = _open(text, PREPROCESSOR)
    for key, supported in {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_center_crop": False}.items():
        top.must_be(key, supported)
    size = top.value("size")
    if not isinstance(size, dict) or size.keys() != {"shortest_edge"}:
        raise top.refusal("size", "supported: an object with shortest_edge alone")
    if type(resample := top.value("resample")) is not int or resample not in _RESAMPLE:
        raise top.refusal("resample", "supported: " + ", ".join(f"{number} ({name})" for number, name in _RESAMPLE.items()))
    return PreprocessorConfig(
        size=top.section("size").integer("shortest_edge"),
        resample=_RESAMPLE[resample],
        rescale_factor=top.number("rescale_factor", 1e-6, 1e6),
        offset=top.flag("offset"),
        mean=top.rgb("image_mean", -1e6, 1e6),
        std=top.rgb("image_std", 1e-6, 1e6),
    )


def parse_config(text: str | bytes) -> ModelConfig:
    """The network and default decoding of AutoGaze's config.json.

    CheckpointError, naming the field by its path, for a missing field, one of a wrong type or range, an unsupported variant,
    and sizes that contradict each other.
    """
    top = _open(text, CONFIG)
    top.must_be("model_type", "autogaze")
    gaze = top.section("gaze_model_config")
    vision = gaze.section("vision_model_config")
    decoder = gaze.section("gaze_decoder_config")
    _refuse_variants(top, vision, decoder)
    heads = decoder.integer("num_attention_heads")
    config = ModelConfig(
        scales=_scales(top),
        cells_each_frame=top.integer("num_vision_tokens_each_frame"),
        input_size=gaze.integer("input_img_size"),
        max_num_frames=top.integer("max_num_frames"),
        gazing_ratio=_gazing_ratio(top),
        task_loss_requirement=_task_loss_requirement(top),
        vision_hidden=vision.integer("hidden_dim"),
        vision_out=vision.integer("out_dim"),
        patch=vision.integer("kernel_size"),
        vision_depth=vision.integer("depth"),
        temporal_patch=vision.integer("temporal_patch_size"),
        trunk_temporal_kernel=vision.integer("trunk_temporal_kernel_size"),
        trunk_spatial_kernel=vision.integer("trunk_spatial_kernel_size"),
        connector_tokens=(gaze.integer("input_img_size") // vision.integer("kernel_size")) ** 2,
        hidden=decoder.integer("hidden_size"),
        layers=decoder.integer("num_hidden_layers", high=_MAX_LAYERS),
        heads=heads,
        key_value_heads=decoder.integer("num_key_value_heads") if decoder.has("num_key_value_heads") else heads,
        head_dim=decoder.integer("head_dim"),
        intermediate=decoder.integer("intermediate_size"),
        vocab=top.integer("num_vision_tokens_each_frame") + 1,
        slots=decoder.integer("num_multi_token_pred"),
        rms_norm_eps=decoder.number("rms_norm_eps", 1e-12, 1.0),
        rope_theta=decoder.number("rope_theta", 1.0, 1e12),
        rope_scaling=_rope_scaling(decoder),
        eos_token=top.integer("num_vision_tokens_each_frame"),
    )
    _refuse_contradictions(config, top, gaze, vision, decoder)
    return config


def _refuse_variants(top: _Section, vision: _Section, decoder: _Section) -> None:
    decoder.may_only_be("model_type", "llama")
    decoder.may_only_be("hidden_act", "silu")
    for key in ("attention_bias", "mlp_bias", "tie_word_embeddings"):
        decoder.may_only_be(key, False)
    vision.must_be("depth", 1)
    vision.must_be("temporal_patch_size", 1)
    top.section("gazing_ratio_each_frame_config").must_be("sample_strategy_during_inference", "uniform")


def _scales(top: _Section) -> tuple[int, ...]:
    value = top.value("scales")  # upstream allows a bare number for a single scale
    parts = value.split("+") if isinstance(value, str) else [str(value)] if type(value) is int else []
    # isascii: isdigit() alone accepts digits that int() refuses; 5 digits hold _MAX_SIZE
    if not 1 <= len(parts) <= _MAX_SCALES or not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts):
        raise top.refusal("scales", f"one to {_MAX_SCALES} sizes in pixels joined by '+' are needed, such as '32+64+112+224'")
    scales = sorted(map(int, parts))
    if scales[0] < 1 or len(set(scales)) < len(scales):
        raise top.refusal("scales", "sizes above 0 are needed, each once")
    return tuple(scales)


def _gazing_ratio(top: _Section) -> float:
    ratio = top.section("gazing_ratio_config")
    ratio.must_be("sample_strategy_during_inference", "fixed")
    return ratio.section("fixed").number("gazing_ratio", 1e-6, 1.0)


def _task_loss_requirement(top: _Section) -> float | None:
    if not top.flag("has_task_loss_requirement_during_inference"):
        return None
    requirement = top.section("task_loss_requirement_config")
    requirement.must_be("sample_strategy_during_inference", "fixed")
    return requirement.section("fixed").number("task_loss_requirement", -1e6, 1e6)


def _rope_scaling(decoder: _Section) -> RopeScaling | None:
    if not decoder.has("rope_scaling"):
        return None
    rope = decoder.section("rope_scaling")
    key = "type" if rope.has("type") else "rope_type"  # the older spelling wins, as upstream lets it
    if rope.value(key) == "default":
        return None
    if rope.value(key) != "llama3":
        raise rope.refusal(key, "supported: 'llama3', 'default'")
    low = rope.number("low_freq_factor", 1e-6, 1e6)
    high = rope.number("high_freq_factor", 1e-6, 1e6)
    if low >= high:  # the interpolation between the two divides by their difference
        raise rope.refusal("high_freq_factor", f"a number above low_freq_factor ({low:g}) is needed")
    return RopeScaling(rope.number("factor", 1.0, 1e6), low, high, rope.integer("original_max_position_embeddings", high=2**31 - 1))


def _refuse_contradictions(config: ModelConfig, top: _Section, gaze: _Section, vision: _Section, decoder: _Section) -> None:
    patch, cells = config.patch, config.cells_each_frame
    if any(scale % patch for scale in config.scales):
        raise top.refusal("scales", f"each must be a multiple of the patch, {patch} (gaze_model_config.vision_model_config.kernel_size)")
    if config.scales[-1] != config.input_size:
        raise gaze.refusal("input_img_size", f"the largest scale, {config.scales[-1]}, is needed")
    if config.layout.cells != cells:
        raise top.refusal("num_vision_tokens_each_frame", f"the grids {config.layout.grids} of the scales have {config.layout.cells} cells")
    # Upstream derives these, so they may be missing; a different value means that the file was edited.
    gaze.may_only_be("num_vision_tokens_each_frame", cells, reason="needed, as at the top of the file")
    decoder.may_only_be("vocab_size", cells + 1, reason="needed, the cells and the end token")
    decoder.may_only_be("eos_token_id", cells, reason="needed, one past the last cell")
    connector = gaze.section("connector_config")
    connector.may_only_be("num_tokens", config.connector_tokens, reason="needed, (input_img_size / kernel_size)²")
    connector.must_be("hidden_dim", config.hidden, reason="needed, the decoder's hidden_size")
    vision.must_be("out_dim", config.hidden, reason="needed, the decoder's hidden_size")
    if config.trunk_temporal_kernel < 2:
        raise vision.refusal("trunk_temporal_kernel_size", "supported: 2 and more, since the graphs remember the frames before")
    if config.trunk_spatial_kernel % 2 == 0:
        raise vision.refusal("trunk_spatial_kernel_size", "an odd number is needed")
    most = min(config.connector_tokens, cells)  # a block takes the positions of vision tokens, and has no cell twice
    if config.slots > most:
        raise decoder.refusal("num_multi_token_pred", f"at most {most} is needed, a frame's vision tokens or cells if they are fewer")
    if config.key_value_heads != config.heads:
        raise decoder.refusal("num_key_value_heads", f"supported: {config.heads}, as many as num_attention_heads")
    if config.head_dim % 2:
        raise decoder.refusal("head_dim", "an even number is needed, since rotary embeddings turn pairs")
