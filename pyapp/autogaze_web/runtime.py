"""What computes: the interface between the plain-Python pipeline and ONNX Runtime, native or in the browser.

A tensor is opaque: the pipeline holds it, feeds it and releases it, and never looks inside. An output named `next.NAME` is the state
that a later run takes as its input NAME; the graph's manifest names those that are written in place, into the buffer of NAME itself.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, runtime_checkable

TYPECODES = {"float32": "f", "int32": "i", "uint8": "B"}  # dtypes that cross the interface, and how array holds them


@dataclass(frozen=True)
class HostTensor:
    """Numbers on their way to the runtime or back: flat data in row-major order, and the shape."""

    data: array[float] | array[int] | bytes | memoryview
    dtype: str  # a key of TYPECODES
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in TYPECODES:
            raise ValueError(f"dtype {self.dtype} does not cross to the runtime; these do: {', '.join(TYPECODES)}")
        if memoryview(self.data).nbytes != prod(self.shape) * array(TYPECODES[self.dtype]).itemsize:
            raise ValueError(f"{memoryview(self.data).nbytes} bytes do not fill {self.dtype} {list(self.shape)}")


def floats(values: Sequence[float], shape: tuple[int, ...] | None = None) -> HostTensor:
    """float32 of the given shape; one axis where none is given."""
    return HostTensor(array("f", values), "float32", shape or (len(values),))


def ints(values: Sequence[int], shape: tuple[int, ...] | None = None) -> HostTensor:
    """int32 of the given shape; one axis where none is given."""
    return HostTensor(array("i", values), "int32", shape or (len(values),))


@dataclass(frozen=True)
class Limits:
    """What a runtime is best given."""

    memory: int = 2 << 30  # bytes for a batch of tiles
    tensor: int = 1 << 62  # bytes of a tensor, at most
    whole_windows: bool = False  # caches for a whole window at once: where every capacity costs a session, and spare slots hardly anything
    side_by_side: bool = False  # batches of tiles at the same time: where an answer is awaited that others could work through


DEFAULT_LIMITS = Limits()


class Tensor(Protocol):
    """A handle of the runtime: an OrtValue, a GPU buffer, a typed array. Nothing here is to be used."""


@dataclass
class Loop:
    """What a loop of runs gives: the state after the last, and the small outputs of every run, on the host."""

    state: dict[str, Tensor]  # by NAME, without "next."
    collected: list[dict[str, HostTensor]]


@dataclass
class Begun:
    """A loop under way."""

    state: dict[str, Tensor]  # where it is expected to end
    runs: int  # after so many
    handle: Any  # the runtime's, or the Loop once it has ended so


class Runtime(Protocol):
    """Runs graphs by name. Runs and reads are awaited; several may be asked for at once, and runs are done one at a time."""

    @property
    def backend(self) -> str:
        """What computes, for a person: "onnxruntime 1.30 cpu"."""

    @property
    def limits(self) -> Limits:
        """How tiles are best batched, and caches made."""

    def upload(self, tensor: HostTensor) -> Tensor:
        """A tensor of the runtime with these numbers."""

    def zeros(self, dtype: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor of zeros."""

    async def run(self, graph: str, feeds: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run a graph once; -> its outputs by name, `next.` included. The caller releases what it does not keep.

        An output that is written in place is given back as the very handle that was fed for it: one buffer, one handle. Feeds that the
        graph has no input for are ignored, so that one state serves several graphs.
        """

    async def loop(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Loop:
        """Run `first` once, then `then` until the output `flag` (int32 or float32 [1]) is not 0, at most `limit` runs in all.

        `feeds` stay the same; `state` is replaced after each run by the run's `next.` outputs and belongs to the loop: what a run
        replaces is released, and all of it when a run fails. `collect` names outputs, of the state or not, that come back to the host
        from every run, in one read.
        """

    async def read(self, tensors: Sequence[Tensor]) -> list[HostTensor]:
        """Copy tensors to the host, all in one round trip."""

    def release(self, tensors: Sequence[Tensor]) -> None:
        """Give back the memory of tensors; they must not be used again."""


@runtime_checkable
class Ahead(Protocol):
    """A Runtime that can go on from where a loop is expected to end before it is known whether it does."""

    async def begin(
        self, first: str, then: str, feeds: Mapping[str, Tensor], state: Mapping[str, Tensor], collect: Sequence[str], flag: str, limit: int
    ) -> Begun:
        """Begin what `loop` does, without awaiting any of its answers. Other loops may begin with Begun.state.

        Where this fails `state` is the caller's again, else the loop's, which gives back all of it if it fails later.
        """

    async def known(self, begun: Begun) -> Loop | None:
        """The loop, where it ended as expected; None where it ended earlier or goes on, and `finish` is to follow."""

    async def finish(self, begun: Begun) -> Loop:
        """The end of a loop. Where it is another than expected, what was begun with Begun.state must have been abandoned."""

    def abandon(self, begun: Begun) -> None:
        """Give back what a loop made; the state that it was given is the caller's again, as it was but for what is written in place."""


async def step_by_step(
    runtime: Runtime,
    first: str,
    then: str,
    feeds: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    collect: Sequence[str],
    flag: str,
    limit: int,
) -> Loop:
    """Runtime.loop for a runtime whose runs are done when they return: run, read, look at the flag."""
    current, collected = dict(state), []
    try:
        for run in range(limit):
            outputs = await runtime.run(then if run else first, {**feeds, **current})
            named = {name.removeprefix("next."): tensor for name, tensor in outputs.items()}
            replaced = {name: tensor for name, tensor in named.items() if f"next.{name}" in outputs}
            small = [tensor for name, tensor in named.items() if name not in replaced]
            runtime.release([current[name] for name in replaced if name in current and current[name] is not replaced[name]])
            current |= replaced
            try:
                *values, stop = await runtime.read([named[name] for name in (*collect, flag)])
            finally:
                runtime.release(small)
            collected.append(dict(zip(collect, values, strict=True)))
            if stop.data[0]:
                break
    except BaseException:
        runtime.release(list(current.values()))
        raise
    return Loop(current, collected)
