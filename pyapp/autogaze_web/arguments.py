"""What a person typed on the command line, looked at before anything slow is imported."""

from __future__ import annotations

from pathlib import Path

import typer

from autogaze_web.checkpoint import FILES, Checkpoint, read_checkpoint
from autogaze_web.errors import CheckpointError, MissingError, SettingsError
from autogaze_web.manifest import MANIFEST
from autogaze_web.settings import one_of
from autogaze_web.whole_files import whole_files

DEVICES = ("cpu", "cuda")


def folder_named(text: str) -> Path:
    """A folder; never the current one because a shell variable was empty."""
    if not text:
        raise typer.BadParameter("no folder is named; for the current one, write a dot.")
    return Path(text)


def ratios(text: str | None) -> float | tuple[float, ...] | None:
    """ "0.1", or one share a frame: "0.2,0.05,0.05"."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"gazing_ratio is {text!r}; it is a number from 0 to 1, or such numbers with commas between.") from None
    return values[0] if len(values) == 1 else values


def scales(text: str | None) -> tuple[int, ...] | None:
    """ "64+128+224+448"."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split("+"))
    except ValueError:
        raise SettingsError(f"target_scales is {text!r}; it is whole numbers with + between, such as 64+128+224+448.") from None


def check_device(device: str) -> None:
    one_of("device", device, DEVICES)


def check_video(path: Path) -> None:
    """There is a file; what is in it is the reader's matter."""
    if path.is_dir():
        raise MissingError(f"{path.name or path} is a folder, not a video. Name a file in it.")
    if not path.exists():
        raise MissingError(f"There is no file {path.name}. Check the spelling and the folder.")


def check_out(folder: Path) -> None:
    """Results can be written there; tried out, so that nobody waits for results that have no place."""
    with whole_files(folder):
        pass


def checkpoint_in(folder: Path) -> Checkpoint:
    """The checkpoint in a folder; MissingError where a file of it is not there."""
    check_folder(folder)
    try:
        return read_checkpoint(folder)
    except CheckpointError as error:
        if all((folder / name).is_file() for name in FILES):
            raise
        raise MissingError(str(error)) from error


def model_folder(folder: Path | None) -> Path:
    """The model folder that was named, or the built-in one; MissingError where it lacks a file that every model has."""
    if folder is None:
        return built_in_model()
    check_folder(folder)
    missing = [name for name in (MANIFEST, *FILES) if not (folder / name).is_file()]
    if missing:
        raise MissingError(f"{folder} is no exported model: it lacks {', '.join(missing)}. Run: autogaze-web export CHECKPOINT {folder}")
    return folder


def built_in_model() -> Path:
    """The model that comes with the package, alone or as a part of the page, or the one in a checkout."""
    here = Path(__file__).resolve().parent
    for folder in (place / "models" / "default" for place in (here, here / "page", here.parents[1] / "web")):
        if (folder / MANIFEST).is_file():
            return folder
    raise MissingError(
        "This version has no built-in model. Export one (autogaze-web export CHECKPOINT MODEL) and name it with --model MODEL."
    )


def check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise MissingError(f"{folder} {'is a file, not a folder' if folder.exists() else 'does not exist'}. Name a folder.")
