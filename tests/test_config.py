"""config.json and preprocessor_config.json: upstream's are read whole, variants and contradictions are refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze_web.config import ModelConfig, PreprocessorConfig, RopeScaling, parse_config, parse_preprocessor
from autogaze_web.errors import CheckpointError
from tiny_checkpoint import tiny_config, tiny_preprocessor

UPSTREAM = Path(__file__).parent / "data" / "upstream"
MISSING = object()


def test_reads_upstreams_configuration() -> None:
    assert parse_config((UPSTREAM / "config.json").read_bytes()) == ModelConfig(
        scales=(32, 64, 112, 224),
        cells_each_frame=265,
        input_size=224,
        max_num_frames=16,
        gazing_ratio=0.75,
        task_loss_requirement=0.7,
        vision_hidden=192,
        vision_out=192,
        patch=16,
        vision_depth=1,
        temporal_patch=1,
        trunk_temporal_kernel=3,
        trunk_spatial_kernel=3,
        connector_tokens=196,
        hidden=192,
        layers=4,
        heads=6,
        key_value_heads=6,
        head_dim=32,
        intermediate=384,
        vocab=266,
        slots=10,
        rms_norm_eps=1e-5,
        rope_theta=500_000.0,
        rope_scaling=RopeScaling(8.0, 1.0, 4.0, 8192),
        eos_token=265,
    )


def test_reads_upstreams_preprocessor() -> None:
    read = parse_preprocessor((UPSTREAM / "preprocessor_config.json").read_text())
    assert read == PreprocessorConfig(224, "bilinear", 0.00784313725490196, True, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_layout_follows_the_scales() -> None:
    layout = parse_config(json.dumps(tiny_config())).layout
    assert layout.grids == (2, 4) and layout.cells == 20 and layout.end_token == 20


def changed(values: dict[str, Any], path: str, value: object) -> str:
    """JSON of `values` with the field at a dotted path replaced, or taken away for MISSING."""
    *sections, key = path.split(".")
    place = values
    for section in sections:
        place = place[section]
    place[key] = value
    if value is MISSING:
        del place[key]
    return json.dumps(values)


DECODER = "gaze_model_config.gaze_decoder_config"
VISION = "gaze_model_config.vision_model_config"
CONNECTOR = "gaze_model_config.connector_config"
ACCEPTED = [
    ("scales", "64+32", "scales", (32, 64)),
    ("has_task_loss_requirement_during_inference", False, "task_loss_requirement", None),
    (f"{DECODER}.rope_scaling", None, "rope_scaling", None),
    (f"{DECODER}.rope_scaling", MISSING, "rope_scaling", None),
    (f"{DECODER}.rope_scaling", {"rope_type": "default"}, "rope_scaling", None),
    (f"{DECODER}.rope_scaling", {"type": "default"}, "rope_scaling", None),
    (f"{DECODER}.head_dim", 8, "head_dim", 8),  # Llama's heads need not add up to its width
    (f"{DECODER}.rope_theta", 10_000, "rope_theta", 10_000.0),
    (f"{DECODER}.num_key_value_heads", None, "key_value_heads", 2),
    (f"{DECODER}.hidden_act", MISSING, "hidden", 32),
    (f"{DECODER}.vocab_size", MISSING, "vocab", 21),
    (f"{DECODER}.eos_token_id", MISSING, "eos_token", 20),
    (f"{CONNECTOR}.num_tokens", MISSING, "connector_tokens", 16),
    (f"{VISION}.trunk_spatial_kernel_size", 1, "trunk_spatial_kernel", 1),
    (f"{VISION}.trunk_temporal_kernel_size", 2, "trunk_temporal_kernel", 2),
    (f"{DECODER}.num_multi_token_pred", 16, "slots", 16),
    ("gazing_ratio_config.fixed.gazing_ratio", 1, "gazing_ratio", 1.0),
]


@pytest.mark.parametrize(("path", "value", "field", "expected"), ACCEPTED)
def test_accepts(path: str, value: object, field: str, expected: object) -> None:
    read = getattr(parse_config(changed(tiny_config(), path, value)), field)
    assert read == expected and type(read) is type(expected)


def test_a_single_scale_may_be_a_number() -> None:
    config = tiny_config() | {"scales": 64, "num_vision_tokens_each_frame": 16}
    config["gaze_model_config"] |= {"num_vision_tokens_each_frame": 16}
    config["gaze_model_config"]["gaze_decoder_config"] |= {"vocab_size": 17, "eos_token_id": 16}
    assert parse_config(json.dumps(config)).scales == (64,)


REFUSED = [
    ("model_type", MISSING, "model_type is missing"),
    ("model_type", "llama", "model_type is 'llama'; supported: 'autogaze'"),
    ("scales", MISSING, "scales is missing"),
    ("scales", "32+64px", "joined by '\\+'"),
    ("scales", "", "joined by"),
    ("scales", "³²+64", "joined by"),
    ("scales", [32, 64], "joined by"),
    ("scales", True, "joined by"),
    ("scales", "+".join(["32"] * 1000), "one to 16 sizes"),
    ("scales", "64+64", "each once"),
    ("scales", "0+64", "above 0"),
    ("scales", "40+64", "multiple of the patch, 16"),
    ("scales", "32+128", "input_img_size is 64; the largest scale, 128"),
    ("num_vision_tokens_each_frame", 21, r"grids \(2, 4\) of the scales have 20 cells"),
    ("max_num_frames", 0, "max_num_frames is 0; an integer from 1"),
    ("max_num_frames", True, "max_num_frames is true; an integer"),
    ("max_num_frames", 4.0, "max_num_frames is 4.0; an integer"),
    ("max_num_frames", 10**30, "max_num_frames"),
    ("gazing_ratio_config.sample_strategy_during_inference", "exponential", "is 'exponential'; supported: 'fixed'"),
    ("gazing_ratio_config.fixed", MISSING, "gazing_ratio_config.fixed is missing"),
    ("gazing_ratio_config.fixed.gazing_ratio", 0, "gazing_ratio_config.fixed.gazing_ratio is 0"),
    ("gazing_ratio_config.fixed.gazing_ratio", float("nan"), "NaN is not a JSON number"),
    ("gazing_ratio_config.fixed.gazing_ratio", float("inf"), "Infinity is not a JSON number"),
    ("gazing_ratio_each_frame_config.sample_strategy_during_inference", "dirichlet", "is 'dirichlet'; supported: 'uniform'"),
    ("has_task_loss_requirement_during_inference", "yes", "true or false"),
    ("task_loss_requirement_config.sample_strategy_during_inference", "uniform", "is 'uniform'; supported: 'fixed'"),
    ("gaze_model_config", [], "gaze_model_config is \\[\\]; a JSON object"),
    ("gaze_model_config.num_vision_tokens_each_frame", 265, "is 265; needed, as at the top of the file: 20"),
    (f"{CONNECTOR}.num_tokens", 196, "num_tokens is 196; needed.*: 16"),
    (f"{CONNECTOR}.hidden_dim", 24, "hidden_dim is 24; needed.*: 32"),
    (f"{VISION}.out_dim", 24, "out_dim is 24; needed.*: 32"),
    (f"{VISION}.depth", 2, f"{VISION}.depth is 2; supported: 1"),
    (f"{VISION}.depth", True, "depth is true; supported: 1"),
    (f"{VISION}.temporal_patch_size", 2, "temporal_patch_size is 2; supported: 1"),
    (f"{VISION}.trunk_spatial_kernel_size", 4, "an odd number"),
    (f"{VISION}.trunk_temporal_kernel_size", 0, "an integer from 1"),
    (f"{VISION}.trunk_temporal_kernel_size", 1, "trunk_temporal_kernel_size is 1; supported: 2 and more"),
    (f"{VISION}.kernel_size", 24, "multiple of the patch, 24"),
    (f"{DECODER}.model_type", "qwen2", "is 'qwen2'; supported: 'llama'"),
    (f"{DECODER}.hidden_act", "gelu", f"{DECODER}.hidden_act is 'gelu'; supported: 'silu'"),
    (f"{DECODER}.attention_bias", True, "attention_bias is true; supported: false"),
    (f"{DECODER}.mlp_bias", True, "mlp_bias is true"),
    (f"{DECODER}.tie_word_embeddings", True, "tie_word_embeddings is true"),
    (f"{DECODER}.head_dim", MISSING, f"{DECODER}.head_dim is missing"),
    (f"{DECODER}.head_dim", 15, "an even number"),
    (f"{DECODER}.num_key_value_heads", 1, "num_key_value_heads is 1; supported: 2"),
    (f"{DECODER}.num_multi_token_pred", 17, f"{DECODER}.num_multi_token_pred is 17; at most 16 is needed"),
    (f"{DECODER}.num_hidden_layers", 10**6, "from 1 to 256"),
    (f"{DECODER}.vocab_size", 266, "vocab_size is 266; needed.*: 21"),
    (f"{DECODER}.eos_token_id", 2, "eos_token_id is 2; needed.*: 20"),
    (f"{DECODER}.rms_norm_eps", 0, "rms_norm_eps is 0"),
    (f"{DECODER}.rms_norm_eps", 10**400, "rms_norm_eps"),
    (f"{DECODER}.rope_theta", MISSING, "rope_theta is missing"),
    (f"{DECODER}.rope_scaling.rope_type", "yarn", "rope_type is 'yarn'; supported: 'llama3', 'default'"),
    (f"{DECODER}.rope_scaling.rope_type", [], "rope_type is \\[\\]"),
    (f"{DECODER}.rope_scaling.high_freq_factor", 1.0, "above low_freq_factor"),
    (f"{DECODER}.rope_scaling.factor", MISSING, "rope_scaling.factor is missing"),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_refuses_by_name(path: str, value: object, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        parse_config(changed(tiny_config(), path, value))
    assert str(caught.value).startswith("config.json") and len(str(caught.value)) < 400


PREPROCESSOR_REFUSED = [
    ("do_resize", False, "do_resize is false; supported: true"),
    ("do_normalize", 1, "do_normalize is 1; supported: true"),
    ("do_center_crop", True, "do_center_crop is true; supported: false"),
    ("do_center_crop", MISSING, "do_center_crop is missing"),
    ("resample", 3, r"resample is 3; supported: 2 \(bilinear\)"),
    ("resample", [], "supported: 2"),
    ("size", {"height": 224, "width": 224}, "shortest_edge alone"),
    ("size", {"shortest_edge": 0}, "size.shortest_edge is 0"),
    ("image_std", [0.2, 0.2, 0], "three numbers from 1e-06"),
    ("image_mean", [0.5, 0.5], "three numbers"),
    ("image_mean", [0.5, 0.5, True], "three numbers"),
    ("offset", None, "offset is null; true or false"),
    ("rescale_factor", 0, "rescale_factor is 0"),
]


@pytest.mark.parametrize(("path", "value", "words"), PREPROCESSOR_REFUSED)
def test_refuses_preprocessors_by_name(path: str, value: object, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        parse_preprocessor(changed(tiny_preprocessor(), path, value))
    assert str(caught.value).startswith("preprocessor_config.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not readable as JSON"),
        (b"[1]", "a JSON object is needed"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"model_type":"autogaze","model_type":"llama"}', "'model_type' appears twice"),
        (b'{"rms_norm_eps": 1e999}', "model_type is missing"),
        (b"{" + b" " * 1_000_000 + b"}", "most one may have"),
    ],
)
def test_refuses_what_is_no_configuration(text: bytes, words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        parse_config(text)


def test_overflowing_number_is_refused() -> None:
    text = json.dumps(tiny_config()).replace("1e-05", "1e999")
    with pytest.raises(CheckpointError, match="rms_norm_eps is inf; a number from"):
        parse_config(text)


def paths(values: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        path
        for key, value in values.items()
        for path in [prefix + key, *(paths(value, f"{prefix}{key}.") if isinstance(value, dict) else [])]
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.sampled_from([10**400, "llama", "32+64", 16, 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(paths(tiny_config())), VALUES | st.just(MISSING))
def test_any_value_anywhere_is_read_or_refused(path: str, value: object) -> None:
    try:
        parse_config(changed(tiny_config(), path, value))
    except CheckpointError as error:
        assert str(error).startswith("config.json")


@given(st.sampled_from(paths(tiny_preprocessor())), VALUES | st.just(MISSING))
def test_any_preprocessor_value_is_read_or_refused(path: str, value: object) -> None:
    try:
        parse_preprocessor(changed(tiny_preprocessor(), path, value))
    except CheckpointError as error:
        assert str(error).startswith("preprocessor_config.json")


@given(st.binary(max_size=100) | st.text(max_size=100))
def test_random_text(text: str | bytes) -> None:
    for parse in (parse_config, parse_preprocessor):
        with pytest.raises(CheckpointError):
            parse(text)
