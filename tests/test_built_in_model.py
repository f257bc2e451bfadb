"""The model that ships: its graphs are those that this exporter makes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import onnx

from autogaze_web.arguments import built_in_model
from autogaze_web.model_folder import read_model
from autogaze_web.runtimes.native import NativeRuntime
from autogaze_web.self_test import gazed_ids


def bare(content: bytes) -> onnx.ModelProto:
    """A graph without what says where it came from."""
    model = onnx.load_from_string(content)
    del model.metadata_props[:]
    model.producer_version = ""
    return model


def test_the_shipped_graphs_are_what_the_exporter_makes_today(noise_folder: Path) -> None:
    shipped, fresh = read_model(built_in_model()), read_model(noise_folder)  # the same sizes, so the same graphs
    assert shipped.graphs.keys() == fresh.graphs.keys()
    stale = [name for name in fresh.graphs if bare(shipped.graphs[name]) != bare(fresh.graphs[name])]
    assert not stale, f"export web/models/default again: {', '.join(stale)} changed"


def test_the_stored_ids_of_the_self_test_are_the_models() -> None:
    model = read_model(built_in_model())
    stored = json.loads((built_in_model() / "self_test.json").read_text())
    assert stored["weights_sha256"] == model.checkpoint.sha256
    assert asyncio.run(gazed_ids(NativeRuntime(model), model.checkpoint)) == stored["ids"]
