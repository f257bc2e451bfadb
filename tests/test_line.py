"""Frames that are begun before it is known how the one before ends: the same gaze, and everything given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autogaze_web.frame_gaze import FrameGaze
from autogaze_web.model_folder import Model, read_model
from autogaze_web.pipeline import Gazer, SourceFrame, gazed
from autogaze_web.runtime import Ahead, Begun, HostTensor, Limits, Loop, Tensor
from autogaze_web.settings import GazeSettings
from slow_paint import opaque
from strict_runtime import Strict

FRAMES, WINDOW = 9, 4
CASES = {
    "a budget": GazeSettings(clip_len=WINDOW, max_gaze_tokens_each_frame=11),
    "one block": GazeSettings(clip_len=WINDOW, max_gaze_tokens_each_frame=3),
    "stops": GazeSettings(clip_len=WINDOW, max_gaze_tokens_each_frame=20),
    "stops of tiles": GazeSettings(mode="tiled", clip_len=WINDOW, max_gaze_tokens_each_frame=17),
    "stops of many tiles": GazeSettings(mode="tiled", clip_len=WINDOW, max_gaze_tokens_each_frame=17, tile_batch=4),
    "rolling": GazeSettings(window="rolling", clip_len=WINDOW, max_gaze_tokens_each_frame=17),
}


class Guessing(Strict):
    """Guesses as web/worker/loops.js does, natively: a loop takes as many runs as the one before."""

    def __init__(self, model: Model, fail_at: int | None = None) -> None:
        super().__init__(model, fail_at)
        self.limits = Limits(whole_windows=True, side_by_side=True)
        self.lasted = dict[str, int]()
        self.wrong = self.abandoned = 0

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        await asyncio.sleep(0)  # others have a turn
        return await super().run(graph, feeds)

    async def launch(
        self, graphs: list[str], feeds: Mapping[str, Tensor], state: dict[str, Tensor], wanted: list[str]
    ) -> tuple[list[dict[str, Tensor]], list[list[HostTensor]]]:
        states: list[dict[str, Tensor]] = []
        numbers = []
        try:
            for graph in graphs:
                before = states[-1] if states else state
                outputs = await self.run(graph, {**feeds, **before})
                after = {name.removeprefix("next."): tensor for name, tensor in outputs.items() if name.startswith("next.")}
                states.append(before | after)
                numbers.append(await self.read([outputs.get(name, after.get(name)) for name in wanted]))
                self.release([tensor for name, tensor in outputs.items() if not name.startswith("next.")])
        except BaseException:
            self.keep_only(state, [state, *states])
            raise
        return states, numbers

    async def begin(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Begun:
        given, runs = dict(state), min(self.lasted.get(first, 1), limit)
        states, numbers = await self.launch([first, *[then] * (runs - 1)], feeds, given, [*collect, flag])
        return Begun(dict(states[-1]), runs, [first, then, feeds, given, collect, flag, limit, states, numbers])

    async def known(self, begun: Begun) -> Loop | None:
        first, _, _, state, collect, _, limit, states, numbers = begun.handle
        stop = next((run + 1 for run, values in enumerate(numbers) if values[-1].data[0]), None)
        if stop != begun.runs if stop else begun.runs < limit:
            return None
        self.keep_only(states[-1], [state, *states])
        self.lasted[first] = begun.runs
        return Loop(begun.state, [dict(zip(collect, values[:-1], strict=True)) for values in numbers])

    async def finish(self, begun: Begun) -> Loop:
        first, then, feeds, state, collect, flag, limit, states, numbers = begun.handle
        collected: list[dict[str, HostTensor]] = []
        while True:
            stop = next((run + 1 for run, values in enumerate(numbers) if values[-1].data[0]), None)
            end = stop or len(states)
            self.keep_only(states[end - 1], [state, *states])
            state = states[end - 1]
            collected += [dict(zip(collect, values[:-1], strict=True)) for values in numbers[:end]]
            if stop or len(collected) >= limit:
                break
            try:
                states, numbers = await self.launch([then] * min(2, limit - len(collected)), feeds, state, [*collect, flag])
            except BaseException:
                self.release(list(state.values()))
                raise
        self.wrong += len(collected) != begun.runs
        self.lasted[first] = len(collected)
        return Loop(dict(state), collected)

    def abandon(self, begun: Begun) -> None:
        given, states = begun.handle[3], begun.handle[7]
        self.keep_only(given, [given, *states])
        self.abandoned += 1

    def keep_only(self, kept: dict[str, Tensor], states: list[dict[str, Tensor]]) -> None:
        stay = {id(tensor) for tensor in kept.values()}
        self.release(list({id(tensor): tensor for state in states for tensor in state.values() if id(tensor) not in stay}.values()))


def gaze_all(runtime: Strict, model: Model, settings: GazeSettings) -> list[FrameGaze]:
    """The gaze of a noisy clip, as the page goes through it."""
    gazer = Gazer(runtime, model.checkpoint, settings)
    gazer.shared.capacity_step = 64

    async def frames() -> AsyncGenerator[SourceFrame, None]:
        for index in range(FRAMES):
            pixels = opaque(np.random.default_rng(index).integers(0, 256, (70, 150, 3), dtype=np.uint8))
            yield SourceFrame(index, index / 30, 150, 70, runtime.upload(HostTensor(pixels.tobytes(), "uint8", pixels.shape)))

    async def go() -> list[FrameGaze]:
        found = []
        async with aclosing(gazed(frames(), gazer)) as items:
            async for item in items:
                runtime.release([item.frame.pixels])
                found.append(item.gaze)
        return found

    try:
        return asyncio.run(go())
    finally:
        gazer.release()


def stopping(model: Model, settings: GazeSettings, case: str) -> GazeSettings:
    """With a task loss at which some frames end early, where the case is of that."""
    if "stops" not in case and case != "rolling":
        return settings
    losses = sorted(loss for gaze in gaze_all(Strict(model), model, settings) for row in gaze.task_loss for loss in row)
    return replace(settings, task_loss_requirement=losses[len(losses) // 8])


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return read_model(tiny_model)


@pytest.mark.parametrize("case", CASES)
def test_what_is_guessed_changes_nothing(case: str, model: Model) -> None:
    settings = stopping(model, CASES[case], case)
    plain, guessing = Strict(model), Guessing(model)
    wanted, found = gaze_all(plain, model, settings), gaze_all(guessing, model, settings)
    assert found == wanted
    assert not guessing.live
    if case == "stops of tiles":
        assert guessing.wrong and guessing.abandoned  # or nothing was tried


@pytest.mark.parametrize("case", ["a budget", "stops", "stops of many tiles"])
def test_everything_is_given_back_when_a_run_fails(case: str, model: Model) -> None:
    settings = stopping(model, CASES[case], case)
    whole = Guessing(model)
    gaze_all(whole, model, settings)
    for fail_at in range(1, whole.runs + 1, 3):
        runtime = Guessing(model, fail_at)
        with pytest.raises(RuntimeError, match="device lost"):
            gaze_all(runtime, model, settings)
        assert not runtime.live, f"when run {fail_at} fails"


def test_a_native_runtime_guesses_nothing(model: Model) -> None:
    runtime: Any = Strict(model)
    assert not isinstance(runtime, Ahead)
    assert isinstance(Guessing(model), Ahead)
