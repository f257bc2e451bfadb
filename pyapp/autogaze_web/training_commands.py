"""The commands `autogaze-web train` and `autogaze-web evaluate`, for those who make models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from autogaze_web.arguments import DEVICES, check_device, check_out, check_video, checkpoint_in
from autogaze_web.config import CONFIG, PREPROCESSOR, parse_config, parse_preprocessor
from autogaze_web.display import printable, say, table, tell, tell_table
from autogaze_web.errors import MissingError
from autogaze_web.record import json_text
from autogaze_web.whole_files import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from autogaze_export.model import AutoGaze

RESULTS = "evaluation.json"
CURVES = "curves.png"
STATE = "training"  # folder of what a later stretch needs, in OUT
SMOKE_MINUTES = 0.5


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.command()(evaluate)


def train(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="The checkpoint to write; its training state goes into a folder in it.")],
    config: Annotated[Path, typer.Option(metavar="FOLDER", help="Where config.json and preprocessor_config.json are.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the last stretch in FOLDER ended.")] = False,
    begin: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="A checkpoint to begin with: only the recipe's last part is trained.")
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="Length of this stretch.")] = 10.0,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few tiny rounds, to see that it runs.")] = False,
    device: Annotated[str, typer.Option(metavar="|".join(DEVICES), help="Where to train.")] = "cuda",
) -> None:
    """Train a model from procedural video. Prints the checkpoint's folder."""
    from autogaze_web.cli import export_packages, failures

    with failures(context):
        check_device(device)
        check_out(out)
        for name in (CONFIG, PREPROCESSOR):
            if not (config / name).is_file():
                raise MissingError(f"{printable(config)} has no {name}. Name a folder of a checkpoint, such as the built-in model's.")
        start = None if begin is None else checkpoint_in(begin)
        texts = [(config / name).read_text() for name in (CONFIG, PREPROCESSOR)]
        with export_packages():
            from autogaze_export.checkpoint import load_network
            from autogaze_export.train.curves import curves
            from autogaze_export.train.loop import Trainer
            from autogaze_export.train.recipe import SMOKE, Recipe
            from autogaze_export.train.release import write_folder
        trainer = Trainer(SMOKE if smoke else Recipe(), parse_config(texts[0]), parse_preprocessor(texts[1]), device)
        if resume:
            trainer.resume(out / STATE)
        elif start is not None:
            trainer.begin_with(load_network(start))
        done = trainer.run(min(minutes, SMOKE_MINUTES) if smoke else minutes, lambda entry: say(progress_line(entry)))
        trainer.save(out / STATE)
        write_folder(trainer.averaged(), config, out)
        (out / CURVES).write_bytes(curves(trainer.log))
        say("done" if done else f"{trainer.round} of {trainer.recipe.rounds} rounds; go on with --resume")
        tell(printable(out))


def progress_line(entry: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in entry.items())


def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A checkpoint's folder.")],
    clips: Annotated[int, typer.Option(min=1, help="Procedural clips of each kind.")] = 8,
    video: Annotated[Path | None, typer.Option(metavar="VIDEO", help="Real frames; its first 16 are taken, as squares.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help=f"Where {RESULTS} goes; default: MODEL.")] = None,
    device: Annotated[str, typer.Option(metavar="|".join(DEVICES), help="Where PyTorch runs.")] = "cpu",
) -> None:
    """Compare a model with the greedy teacher, patch difference and chance. Prints tables, writes evaluation.json."""
    from autogaze_web.cli import export_packages, failures

    with failures(context):
        check_device(device)
        checkpoint = checkpoint_in(model)
        if video is not None:
            check_video(video)
        with export_packages():
            from autogaze_export import evaluate as evaluation
            from autogaze_export.checkpoint import load_network
        network = load_network(checkpoint, device)
        real = None if video is None else read_frames(video, checkpoint.config.max_num_frames, network)
        numbers = evaluation.evaluate(network, checkpoint.preprocessor, clips, real, say)
        numbers["model_sha256"] = checkpoint.sha256
        write_whole((out or model) / RESULTS, json_text(numbers))
        show(numbers)


def read_frames(path: Path, limit: int, network: AutoGaze) -> Tensor:
    """The first frames of a video, uint8 [T, H, W, 3]."""
    import asyncio

    import torch

    from autogaze_export.torch_runtime import TorchRuntime
    from autogaze_web.colour import Colours
    from autogaze_web.video import VideoFrame, open_video

    colours = Colours(TorchRuntime(network))

    async def rgb(frame: VideoFrame) -> Tensor:
        picture = frame.stored.handed(frame.index, frame.time_s, lambda plane: torch.from_numpy(plane).to(network.device))
        pixels = cast("Tensor", (await colours.frame(picture)).pixels)
        return pixels[..., :3].cpu()

    with open_video(path) as reader:
        return torch.stack([asyncio.run(rgb(frame)) for frame in reader.frames(limit)])


def show(numbers: dict[str, Any]) -> None:
    """The tables."""
    columns = ("set", "tokens", "model", "teacher", "difference", "…displayed", "random", "closed", "…displayed")
    names = ("model", "teacher", "difference_previous", "difference_displayed", "random")
    rows = [
        (name, budget, *(f"{row[key]:.3f}" for key in names), *(percent(row[f"closed_{kind}"]) for kind in ("previous", "displayed")))
        for name, found in numbers["sets"].items()
        for budget, row in found["budgets"].items()
    ]
    tell_table(table(columns, rows, right=columns[1:]))
    keys = {
        "first": "tokens_first_frame",
        "later": "tokens_later_frames",
        "true loss": "true_loss",
        "update ratio": "update_ratio",
        "PSNR dB": "psnr_db",
        "head error": "stop_head_error",
        "near": "stopped_near",
        "near (begun above)": "stopped_near_of_begun_above",
    }
    rows = [
        (name, threshold, *("–" if row[key] is None else f"{row[key]:.3f}" for key in keys.values()))
        for name, found in numbers["sets"].items()
        for threshold, row in found["thresholds"].items()
    ]
    tell_table(table(("set", "threshold", *keys), rows, right=("threshold", *keys)))
    for name, found in numbers["sets"].items():
        special = [f"{key} {value}" for key, value in found.items() if key not in ("budgets", "thresholds")]
        if special:
            tell(f"{name}: {', '.join(special)}")


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
