"""What each graph takes and gives, as data: names, dtypes, dims by name, and what is written in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from autogaze_export.graphs.cache import Grow, Shift
from autogaze_export.graphs.colour import Rgb
from autogaze_export.graphs.encode import Encode
from autogaze_export.graphs.paint import Paint, PaintBlend, PaintImage, PaintImageBlend, PaintRows, PaintRowsBlend
from autogaze_export.graphs.prepare import Prepare, PrepareTiled
from autogaze_export.graphs.step import StepFirst, StepNext
from autogaze_export.model import AutoGaze
from autogaze_web.caches import RUN
from autogaze_web.config import ModelConfig

CAPACITY = f"{RUN}*runs"

Dim = int | str  # a size, the name of one, or "14*name"
Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class Port:
    """One input: its dtype and its dims; `group` is the argument of forward that it is an element of, where that is a list."""

    dtype: str
    shape: Shape
    group: str = ""


@dataclass(frozen=True)
class GraphSpec:
    """One graph to export."""

    name: str
    module: Callable[[AutoGaze], nn.Module]
    inputs: dict[str, Port]
    outputs: tuple[str, ...]
    in_place: tuple[str, ...] = ()  # inputs whose buffer the output `next.NAME` shares
    weights: bool = False  # whether it needs the checkpoint


@dataclass(frozen=True)
class Sizes:
    """The sizes of a configuration that shapes are made of."""

    config: ModelConfig
    caches: dict[str, Port] = field(init=False)

    def __post_init__(self) -> None:
        c = self.config
        caches = {}
        for layer in range(c.layers):
            caches[f"key_{layer}"] = Port("float32", ("batch", c.heads, CAPACITY, c.head_dim), "caches")
            caches[f"value_{layer}"] = Port("float32", ("batch", c.heads, CAPACITY, c.head_dim), "caches")
        object.__setattr__(self, "caches", caches)


def graph_specs(config: ModelConfig) -> list[GraphSpec]:
    """Every graph of a configuration."""
    sizes = Sizes(config)
    return [*colour_specs(), *prepare_specs(config), encode_spec(config), *step_specs(sizes), *cache_specs(sizes), *paint_specs(config)]


def colour_specs() -> list[GraphSpec]:
    planes = {name: Port("uint8", (f"{name}_height", f"{name}_stride")) for name in ("luma", "blue", "red")}
    gains = {name: Port("float32", (4, 1, 1)) for name in ("luma_gain", "blue_gain", "red_gain", "start")}

    def taken(rows: Dim, columns: Dim) -> dict[str, Port]:
        down, across = ("luma_rows", "chroma_rows"), ("luma_columns", "blue_columns", "red_columns")
        return {name: Port("int32", (rows,)) for name in down} | {name: Port("int32", (columns,)) for name in across}

    return [
        GraphSpec("rgb", lambda _: Rgb(), planes | taken("height", "width") | gains, ("frame",)),
        GraphSpec("rgb_turned", lambda _: Rgb(turned=True), planes | taken("width", "height") | gains, ("frame",)),
    ]


def prepare_specs(config: ModelConfig) -> list[GraphSpec]:
    tile, patch, blocks = config.input_size, config.patch, config.input_size // config.patch
    frame = {"frame": Port("uint8", ("height", "width", "channels"))}

    def resize(columns: Dim, rows: Dim) -> dict[str, Port]:
        return {
            "column_index": Port("int32", (columns, "column_window")),
            "column_weights": Port("float32", (columns, 2 * patch, "column_window")),
            "row_index": Port("int32", (rows, "row_window")),
            "row_weights": Port("float32", (rows, 2 * patch, "row_window")),
            "levels": Port("float32", (3 * 256,)),
        }

    bicubic = {
        "bicubic_rows": Port("float32", (tile, f"{patch}*row_blocks")),
        "bicubic_columns": Port("float32", (f"{patch}*column_blocks", tile)),
    }
    tiled = resize(f"{blocks}*tile_columns", f"{blocks}*tile_rows")
    return [
        GraphSpec("prepare", lambda n: Prepare(n.config), frame | resize("column_blocks", "row_blocks") | bicubic, ("tiles",)),
        GraphSpec("prepare_tiled", lambda n: PrepareTiled(n.config), frame | tiled, ("tiles",)),
    ]


def encode_spec(config: ModelConfig) -> GraphSpec:
    tile, side = config.input_size, config.input_size // config.patch
    inputs = {
        "tiles": Port("float32", ("tiles", 3, tile, tile)),
        "tile_index": Port("int32", ("batch",)),
        "past": Port("float32", ("batch", side * side + 1, (config.trunk_temporal_kernel - 1) * config.vision_hidden)),
    }
    return GraphSpec("encode", Encode, inputs, ("vision", "next.past"), weights=True)


def step_specs(sizes: Sizes) -> list[GraphSpec]:
    c = sizes.config
    block = {"block_ids": Port("int32", ("batch", c.slots)), "block_valid": Port("float32", ("batch", c.slots))}
    place = {"penalty": Port("float32", ("batch", c.vocab))} | between_frames(c)
    tables = {
        "cos": Port("float32", ("positions", c.head_dim)),
        "sin": Port("float32", ("positions", c.head_dim)),
        "slot_index": Port("int32", (CAPACITY,)),
        "rows": Port("float32", ("batch", f"{c.slots}*batch")),
        "key_valid": Port("float32", ("batch", CAPACITY)),
    }
    vision = {"vision": Port("float32", ("batch", c.connector_tokens, c.hidden))}
    budget = {"first_bar": Port("float32", (c.slots,)), "first_shut": Port("float32", (1, c.slots))}
    frame = {"hidden": Port("float32", ("batch", CAPACITY)), "shut": Port("float32", ("batch", c.slots))}
    threshold = {"threshold": Port("float32", (1,))}
    choice = ("next.block_ids", "next.block_valid", "probs", "task_loss", "stop", "next.penalty", "next.shut", "next.slots")
    caches = ("next.key_valid", *(f"next.{name}" for name in sizes.caches))
    in_place = ("key_valid", *sizes.caches)
    first, following = vision | block | place | tables | budget, block | place | tables | frame | threshold
    outputs = (*choice, "next.angle", "next.hidden", *caches)
    return [
        GraphSpec("step_first", StepFirst, first | sizes.caches, outputs, in_place, weights=True),
        GraphSpec("step_next", StepNext, following | sizes.caches, (*choice, *caches), in_place, weights=True),
    ]


def between_frames(c: ModelConfig) -> dict[str, Port]:
    """Where the sequence is, for each slot of a block."""
    return {"angle": Port("float32", ("batch", c.slots)), "slots": Port("int32", ("batch", c.slots))}


def cache_specs(sizes: Sizes) -> list[GraphSpec]:
    c = sizes.config
    caches = tuple(f"next.{name}" for name in sizes.caches)
    key_valid = {"key_valid": Port("float32", ("batch", CAPACITY))}
    more = {
        "more_valid": Port("float32", ("batch", "more")),
        "more_keys": Port("float32", ("batch", c.heads, "more", c.head_dim)),
        "more_values": Port("float32", ("batch", c.heads, "more", c.head_dim)),
    }
    shift = {
        "dropped": Port("int32", (1,)),
        "cos": Port("float32", ("positions", c.head_dim)),
        "sin": Port("float32", ("positions", c.head_dim)),
        "slot_index": Port("int32", (CAPACITY,)),
    }
    grow = key_valid | {"hidden": key_valid["key_valid"]} | sizes.caches | more
    shift = key_valid | between_frames(c) | shift | sizes.caches
    return [
        GraphSpec("grow", lambda _: Grow(), grow, ("next.key_valid", "next.hidden", *caches)),
        GraphSpec("shift", lambda _: Shift(), shift, ("next.angle", "next.slots", "next.key_valid", *caches)),
    ]


def alone(module: Callable[[], nn.Module]) -> Callable[[AutoGaze], nn.Module]:
    """For a graph that takes nothing of the network."""
    return lambda _: module()


def paint_specs(config: ModelConfig) -> list[GraphSpec]:
    table = Port("float32", (2 + 2 * len(config.scales), 4))
    frame, canvas = {"frame": Port("uint8", ("height", "width", 4))}, {"canvas": Port("int32", ("height", "width", 4))}
    drawn = {
        "cells": Port("float32", ("layers", "cell_rows", "cell_columns")),
        "across": Port("float32", ("layers", "cell_columns", "2*column_groups")),
        "down": Port("float32", ("layers", "2*row_groups", "2*cell_rows")),
        "most": Port("float32", ("layers", 2, 1, 1)),
        "rows": Port("int32", ("height",)),
        "columns": Port("int32", ("width",)),
    }
    panel = {"panel_rows": Port("int32", ("height",)), "panel_columns": Port("int32", ("width",))}
    plain, image, blend = {"colours": table}, {"shown": table, "tint": table}, {"kept": table, "white": table}
    above, counted = {"above": Port("int32", (1,))}, {"counted": Port("int32", (2, 1, 1))}
    updated = ("mask_panel", "output_panel", "next.canvas", "row_stats")
    blended = ("mask_panel", "output_panel", "row_stats")
    specs = []
    for name, masks, kept, lightened in (
        ("paint", plain, Paint, PaintBlend),
        ("paint_image", image, PaintImage, PaintImageBlend),
        ("paint_rows", panel | plain, PaintRows, PaintRowsBlend),
    ):
        specs.append(GraphSpec(name, alone(kept), frame | canvas | drawn | masks | above | counted, updated))
        specs.append(GraphSpec(f"{name}_blend", alone(lightened), frame | drawn | masks | blend | counted, blended))
    return specs
