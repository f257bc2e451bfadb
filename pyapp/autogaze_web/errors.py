"""Errors meant for a person: what happened, what was found, what to try, in a sentence the raiser writes."""

from __future__ import annotations

import reprlib


class AutoGazeError(Exception):
    """Something a person can mend; shown without a traceback."""


class CheckpointError(AutoGazeError):
    """A Hugging Face folder (config, preprocessor, weights) cannot be used."""


class VideoError(AutoGazeError):
    """A video cannot be opened or decoded."""


class SettingsError(AutoGazeError):
    """A setting is unknown, out of range, or does not go with another."""


class ModelError(AutoGazeError):
    """A folder of exported graphs cannot be used."""


class MissingError(AutoGazeError):
    """A file or folder that was named is not there."""


class NotRunError(AutoGazeError):
    """What was asked for cannot be done on this machine: no GPU, no torch. Never to be taken for success."""


class MemoryFullError(AutoGazeError):
    """The device has no memory left for what was asked; fewer tiles at once may fit."""


class DeviceError(AutoGazeError):
    """The device was lost: every tensor on it is gone, and nothing but a new runtime helps."""


class StoppedError(AutoGazeError):
    """A person stopped the run; not a fault."""


_REPR = reprlib.Repr()  # cuts depth too: plain repr() of a deeply nested hostile value can exhaust the stack
_REPR.maxstring = _REPR.maxother = 100
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 6


def quoted(value: object) -> str:
    """A value read from a file, quoted for a message: one line, control characters escaped, long values cut."""
    return _REPR.repr(value)
