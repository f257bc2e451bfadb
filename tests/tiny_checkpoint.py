"""A small AutoGaze of other sizes than the real one: 20 cells a frame (grids 2 and 4), 16 vision tokens, two layers, four slots."""

from __future__ import annotations

import json
import random
from array import array
from typing import Any

from autogaze_web.checkpoint import expected_tensors
from autogaze_web.config import parse_config
from autogaze_web.safetensors import write


def tiny_config() -> dict[str, Any]:
    """A config.json with every field that is read, free to be changed by a test."""
    return {
        "model_type": "autogaze",
        "scales": "32+64",
        "num_vision_tokens_each_frame": 20,
        "max_num_frames": 4,
        "gazing_ratio_config": {"sample_strategy_during_inference": "fixed", "fixed": {"gazing_ratio": 0.75}},
        "gazing_ratio_each_frame_config": {"sample_strategy_during_inference": "uniform"},
        "has_task_loss_requirement_during_inference": True,
        "task_loss_requirement_config": {"sample_strategy_during_inference": "fixed", "fixed": {"task_loss_requirement": 0.7}},
        "gaze_model_config": {
            "input_img_size": 64,
            "num_vision_tokens_each_frame": 20,
            "connector_config": {"hidden_dim": 32, "num_tokens": 16},
            "vision_model_config": {
                "hidden_dim": 24,
                "out_dim": 32,
                "depth": 1,
                "kernel_size": 16,
                "temporal_patch_size": 1,
                "trunk_temporal_kernel_size": 3,
                "trunk_spatial_kernel_size": 3,
            },
            "gaze_decoder_config": {
                "model_type": "llama",
                "vocab_size": 21,
                "eos_token_id": 20,
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "intermediate_size": 64,
                "hidden_act": "silu",
                "attention_bias": False,
                "mlp_bias": False,
                "tie_word_embeddings": False,
                "num_multi_token_pred": 4,
                "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 64,
                },
            },
        },
    }


def tiny_preprocessor() -> dict[str, Any]:
    """A preprocessor_config.json for 64-pixel frames."""
    return {
        "do_center_crop": False,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "offset": True,
        "resample": 2,
        "rescale_factor": 1 / 127.5,
        "size": {"shortest_edge": 64},
    }


def tiny_tensors(seed: int = 0, config: dict[str, Any] | None = None) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Seeded noise for every weight of a configuration (tiny_config's by default), as float32, ready for safetensors.write.

    Matrices are scaled by their fan-in, so that activations keep a size of about one and greedy choices have margins.
    """
    generator = random.Random(seed)
    shapes = expected_tensors(parse_config(json.dumps(config or tiny_config())))
    return {name: ("F32", shape, _noise(generator, name, shape)) for name, shape in shapes.items()}


def _noise(generator: random.Random, name: str, shape: tuple[int, ...]) -> bytes:
    fan_in, count = 1, shape[0]
    for size in shape[1:]:
        fan_in, count = fan_in * size, count * size
    table = name.endswith(("embed_tokens.weight", "pos_embed"))
    centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
    spread = 1.0 if table else 0.1 if len(shape) == 1 else fan_in**-0.5
    values = array("f", (generator.gauss(centre, spread) for _ in range(count)))
    return values.tobytes()  # the tests run on little-endian machines only


def tiny_files(seed: int = 0) -> dict[str, bytes]:
    """The three files of a whole small checkpoint, by name; equal seeds give equal bytes."""
    return {
        "config.json": json.dumps(tiny_config()).encode(),
        "preprocessor_config.json": json.dumps(tiny_preprocessor()).encode(),
        "model.safetensors": write(tiny_tensors(seed), {"format": "pt"}),
    }
