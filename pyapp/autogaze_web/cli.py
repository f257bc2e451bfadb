"""The command line: `autogaze-web export`, `verify`, `run` and `serve`; `train` and `evaluate` are in training_commands.

Data goes to stdout, everything else to stderr. Exit codes: 0 ok · 1 failed · 2 usage or missing file · 3 parity failed ·
4 not run (no GPU, no torch) · 130 interrupted. What is slow to import is imported by the command that needs it.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autogaze_web.arguments import DEVICES, check_device, check_out, check_video, checkpoint_in, folder_named, model_folder, ratios, scales
from autogaze_web.checkpoint import FILES
from autogaze_web.display import frame_progress, printable, say, size_of, stderr_console, step_progress, table, tell, tell_table
from autogaze_web.errors import AutoGazeError, MissingError, NotRunError, SettingsError
from autogaze_web.gate_commands import register as register_gate
from autogaze_web.gate_commands import run_lanes
from autogaze_web.paint import GEOMETRIES, MASK_MODES, OUTPUT_MODES, PaintSettings
from autogaze_web.record import json_text
from autogaze_web.settings import WINDOWS, GazeSettings, check_paint
from autogaze_web.tiles import MODES
from autogaze_web.training_commands import register
from autogaze_web.whole_files import write_whole

if TYPE_CHECKING:
    from autogaze_export.parity import ParityReport
    from autogaze_web.render import Outcome

FAILED, USAGE, PARITY, NOT_RUN, INTERRUPTED = 1, 2, 3, 4, 130
EXIT_CODES = {SettingsError: USAGE, MissingError: USAGE, NotRunError: NOT_RUN}  # other AutoGazeErrors: FAILED
GIF_WIDTH = 480  # pixels
MOST_FRAMES = 10**9  # a year of video
MOST_THREADS = 256
HIGHEST_PORT = 65535
EXPORT_PACKAGES = ("torch", "onnx", "onnxscript")
REPORT = "parity_report.json"
GAZE, PAINT = GazeSettings(), PaintSettings()  # the defaults

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks must not end the program
    try:
        app()
    except KeyboardInterrupt:  # before a command began
        sys.exit(INTERRUPTED)


def show_version(wanted: bool) -> None:
    if wanted:
        try:
            tell(f"autogaze-web {version('autogaze-web')}")
        except PackageNotFoundError:
            tell("autogaze-web (not installed: run from a checkout)")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    _: Annotated[bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version.")] = False,
    whole_traceback: Annotated[
        bool, typer.Option("--traceback", envvar="AUTOGAZE_TRACEBACK", help="Show where in the program an error arose.")
    ] = False,
) -> None:
    """See what AutoGaze looks at in a video."""
    context.obj = whole_traceback


@contextmanager
def failures(context: typer.Context) -> Iterator[None]:
    """Every error as one line on stderr and an exit code."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if context.obj:
            traceback.print_exc()
        say(f"error: {in_words(error, bool(context.obj))}")
        raise typer.Exit(next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FAILED)) from None


def in_words(error: Exception, traced: bool) -> str:
    if isinstance(error, AutoGazeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {Path(error.filename).name}" if error.filename else error.strerror
    more = "" if traced else " (a fault of the program; autogaze-web --traceback COMMAND … shows where)"
    return f"{type(error).__name__}: {error}{more}"


@contextmanager
def export_packages() -> Iterator[None]:
    """Imports of autogaze_export; NotRunError where what it needs is not installed."""
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXPORT_PACKAGES:
            raise
        raise NotRunError(f'Nothing was done: {package} is not installed. Run: pip install "autogaze-web[export]"') from error


@app.command()
def export(
    context: typer.Context,
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help=f"A Hugging Face folder with {', '.join(FILES)}.")],
    out: Annotated[Path, typer.Argument(parser=folder_named, metavar="OUT", help="The model folder to write.")],
    source: Annotated[str | None, typer.Option(help="Where the weights come from, for the metadata; default: the folder's name.")] = None,
) -> None:
    """Turn an AutoGaze checkpoint into ONNX graphs. Prints the folder's path."""
    with failures(context):
        check_out(out)
        opened = checkpoint_in(checkpoint)
        with export_packages():
            from autogaze_export.graphs.specs import graph_specs
            from autogaze_export.onnx_export import write_model
        with step_progress(len(graph_specs(opened.config))) as progress:
            paths = write_model(opened, source or checkpoint.resolve().name, out, progress)
            (out / REPORT).unlink(missing_ok=True)  # it speaks of the graphs that were replaced
        rows = [(path.name, size_of(path.stat().st_size)) for path in paths]
        stderr_console().print(table(("file", "size"), rows, right=("size",)))
        tell(printable(out))


@app.command()
def verify(
    context: typer.Context,
    out: Annotated[Path | None, typer.Argument(metavar="OUT", help="A model folder that export wrote.")] = None,
    device: Annotated[str, typer.Option(metavar="|".join(DEVICES), help="Where PyTorch runs.")] = "cpu",
    browser: Annotated[bool, typer.Option("--browser", help="Run the parity gate's lanes instead: here, in WASM and on WebGPU.")] = False,
    verdicts: Annotated[Path | None, typer.Option(metavar="FOLDER", help="With --browser: where to write each lane's verdict.")] = None,
) -> None:
    """Compare the graphs with PyTorch, tensor by tensor. Prints a table and a verdict, writes parity_report.json into OUT.

    With --browser: what CUDA computed, from the fixtures, against this machine and its browser. Each lane has passed, failed or not run.
    """
    with failures(context):
        if browser:
            raise typer.Exit(run_lanes(verdicts))
        if out is None:
            raise SettingsError("Name a model folder that export wrote, or say --browser.")
        check_device(device)
        model_folder(out)
        with export_packages():
            from autogaze_export.parity import verify_model
        with stderr_console().status("comparing with PyTorch"):
            report = verify_model(out, device)
        write_whole(out / REPORT, json_text(report.to_json()))
        raise typer.Exit(tell_parity(report))


def tell_parity(report: ParityReport) -> int:
    """Print the table and the verdict; -> the exit code."""
    if report.not_run is not None:
        tell(f"NOT RUN: {printable(report.not_run)}")
        return NOT_RUN
    columns = ("graph", "tensor", "shape", "max |Δ|", "tolerance", "ok", "note")
    rows = [
        (t.graph, t.tensor, t.shape, f"{t.max_difference:.2e}", f"{t.tolerance:.0e}", "ok" if t.passed else "FAILED", t.note)
        for t in report.tensors
    ]
    tell_table(table(columns, rows, right=("max |Δ|", "tolerance")))
    failed = sum(not t.passed for t in report.tensors)
    if report.passed:
        tell(f"PASSED: {len(rows)} tensors agree with PyTorch.")
        return 0
    tell(f"FAILED: {failed} of {len(rows)} tensors do not agree with PyTorch.")
    return PARITY


@app.command()
def run(
    context: typer.Context,
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Any video file that FFmpeg reads.")],
    out: Annotated[
        Path, typer.Option(parser=folder_named, metavar="DIR", help="Folder for the results; files of an earlier run are replaced.")
    ],
    model: Annotated[Path | None, typer.Option(metavar="OUT", help="A model folder that export wrote; default: the built-in one.")] = None,
    mode: Annotated[
        str, typer.Option(metavar="|".join(MODES), help="The whole frame at once, or in tiles of the model's size.")
    ] = GAZE.mode,
    gazing_ratio: Annotated[
        str | None,
        typer.Option(
            metavar="RATIO",
            help="Budget: a share of a frame's cells, or a comma list with one share a frame of the window. A budget alone switches the"
            " task loss off; a task loss alone allows every cell; with both, whichever comes first ends a frame; with neither, the"
            " checkpoint's own two.",
        ),
    ] = None,
    max_gaze_tokens: Annotated[int | None, typer.Option(metavar="TOKENS", help="Budget as a count, per tile.")] = None,
    task_loss: Annotated[float | None, typer.Option(metavar="LOSS", help="A frame ends when its predicted loss is at or below.")] = None,
    task_loss_db: Annotated[
        float | None, typer.Option(metavar="DB", help="The same as -20·log10(loss). It is not the PSNR of the output.")
    ] = None,
    window: Annotated[
        str, typer.Option(metavar="|".join(WINDOWS), help="Independent chunks, as NVIDIA does, or the latest frames at any time.")
    ] = GAZE.window,
    clip_len: Annotated[int | None, typer.Option(metavar="FRAMES", help="Frames of a window; default: the checkpoint's.")] = None,
    target_scales: Annotated[
        str | None, typer.Option(metavar="SCALES", help="Gaze on another encoder's scales, such as 64+128+224+448.")
    ] = None,
    target_patch_size: Annotated[int, typer.Option(metavar="PIXELS", help="Of that encoder.")] = GAZE.target_patch_size,
    tile_batch: Annotated[int, typer.Option(metavar="TILES", help="Tiles decoded together, to save memory; 0: all.")] = GAZE.tile_batch,
    output_mode: Annotated[
        str, typer.Option(metavar="|".join(OUTPUT_MODES), help="Keep what was not looked at from before, or whiten what was looked at.")
    ] = PAINT.output_mode,
    mask_mode: Annotated[str, typer.Option(metavar="|".join(MASK_MODES), help="How the mask panel shows cells.")] = PAINT.mask_mode,
    geometry: Annotated[
        str, typer.Option(metavar="|".join(GEOMETRIES), help="Every cell; no cell that coarser ones cover; all on the finest grid.")
    ] = PAINT.geometry,
    keyframe: Annotated[
        int, typer.Option(metavar="FRAMES", help="Frames between whole frames of interframe; 0: only the first.")
    ] = PAINT.keyframe_duration,
    alpha: Annotated[float, typer.Option(help="Strength of blending, 0 to 1.")] = PAINT.blend_alpha,
    cell_scale: Annotated[float, typer.Option(help="Size of drawn and updated cells.")] = PAINT.mask_cell_scale,
    gif_width: Annotated[int, typer.Option(min=0, metavar="PIXELS", help="Of the GIFs, at most; 0: no GIFs.")] = GIF_WIDTH,
    start: Annotated[int, typer.Option(min=0, max=MOST_FRAMES, metavar="FRAMES", help="Frames to skip.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, max=MOST_FRAMES, metavar="LIMIT", help="Frames to render, at most.")] = None,
    device: Annotated[str, typer.Option(metavar="|".join(DEVICES), help="Where the graphs run.")] = "cpu",
    threads: Annotated[int, typer.Option(min=0, max=MOST_THREADS, help="Of the CPU; 0: one a core.")] = 0,
) -> None:
    """Look at a video and write what was seen: metrics.json, trace.json, input.gif, mask.gif, output.gif. Prints their paths."""
    with failures(context):
        gaze = GazeSettings(
            mode=mode,
            window=window,
            clip_len=clip_len,
            gazing_ratio=ratios(gazing_ratio),
            max_gaze_tokens_each_frame=max_gaze_tokens,
            task_loss_requirement=task_loss,
            task_loss_requirement_db=task_loss_db,
            tile_batch=tile_batch,
            target_scales=scales(target_scales),
            target_patch_size=target_patch_size,
        )
        paint = PaintSettings(output_mode, mask_mode, geometry, keyframe, alpha, cell_scale)
        check_device(device)
        check_video(video)
        check_out(out)
        folder = model_folder(model)
        from autogaze_web.render import Job, render_video

        with frame_progress() as progress:
            outcome = render_video(Job(video, folder, out, gaze, check_paint(paint), gif_width, start, frames, device, threads), progress)
        for warning in outcome.warnings:
            say(f"warning: {warning}")
        say(where_time_went(outcome))
        for file in outcome.files:
            tell(printable(file))


@app.command()
def serve(
    context: typer.Context,
    port: Annotated[
        int | None, typer.Option(min=0, max=HIGHEST_PORT, metavar="PORT", help="Default: 8765, or the next free one; 0: any free one.")
    ] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open a browser.")] = False,
) -> None:
    """Serve the page to this machine's browser until Ctrl-C. Prints the address."""
    with failures(context):
        from autogaze_web.server import serve as serve_page

        serve_page(port, open_browser=not no_open)


def where_time_went(outcome: Outcome) -> str:
    """ "16 frames in 0.9 s (18 fps): decode 5 %, gaze 80 %, paint 10 %, write 5 %"."""
    spent = sum(outcome.stages.seconds.values())
    shares = ", ".join(f"{stage} {seconds / spent:.0%}".replace("%", " %") for stage, seconds in outcome.stages.seconds.items())
    frames = f"{outcome.frames} frame{'s' if outcome.frames != 1 else ''}"
    return f"{frames} in {outcome.seconds:.1f} s ({outcome.frames / outcome.seconds:.1f} fps): {shares}"


register(app)
register_gate(app)

if __name__ == "__main__":
    main()
