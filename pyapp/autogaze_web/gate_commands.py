"""The parity gate on the command line: `autogaze-web fixtures` makes what it compares with, `verify --browser` runs its lanes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autogaze_web.arguments import DEVICES, check_device, check_out
from autogaze_web.display import printable, say, table, tell, tell_table
from autogaze_web.errors import NotRunError
from autogaze_web.gate import files
from autogaze_web.gate.verdict import EXIT_CODES, FAILED, NOT_RUN, PASSED
from autogaze_web.whole_files import write_whole


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(fixtures)


def fixtures(
    context: typer.Context,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write them.")] = files.FIXTURES,
    device: Annotated[
        str, typer.Option(metavar="|".join(DEVICES), help="Where PyTorch runs; the committed ones are made on cuda.")
    ] = "cuda",
) -> None:
    """Make the parity gate's fixtures: every case on PyTorch, in a checkout. Prints the files."""
    from autogaze_web.cli import export_packages, failures

    with failures(context):
        check_device(device)
        check_out(out)
        checkpoints = files.checkpoints()
        with export_packages():
            import torch

            from autogaze_export.fixtures import make
        if device == "cuda" and not torch.cuda.is_available():
            raise NotRunError("Nothing was made: PyTorch finds no CUDA device here. Try --device cpu to compare with.")
        from autogaze_web.gate.fixtures import write

        made = write(make(files.SAMPLE, checkpoints, device, lambda case: say(f"case {case}")))
        out.mkdir(parents=True, exist_ok=True)
        for name, content in made.items():
            (out / name).write_bytes(content)
            tell(printable(out / name))


def run_lanes(verdicts_to: Path | None) -> int:
    """Run the browser's lanes, print a table and each verdict; -> the exit code. verdicts_to: a folder for their JSON."""
    from autogaze_web.gate.lanes import HARDWARE, NATIVE, SOFTWARE, WASM, run_browser, run_native

    files.fixture_files()  # where there are none, nothing need be started
    verdicts = []
    for lane in (NATIVE, WASM, SOFTWARE, HARDWARE):
        say(f"lane {lane.name}: {lane.about}")
        verdicts.append(run_native() if lane is NATIVE else run_browser(lane))
        if verdicts_to is not None:
            verdicts_to.mkdir(parents=True, exist_ok=True)
            write_whole(verdicts_to / f"{lane.name}.json", json.dumps(verdicts[-1], indent=1) + "\n")
    rows = [row for verdict in verdicts for row in rows_of(verdict)]
    tell_table(table(("lane", "case", "tensors", "worst", "where", "seconds", "ok"), rows, right=("tensors", "worst", "seconds")))
    for verdict in verdicts:
        reason = f": {verdict['reason']}" if verdict["reason"] else ""
        tell(printable(f"{verdict['lane']}: {verdict['status']}{reason} ({verdict['backend'] or 'nothing ran'})"))
    counted = [verdict["status"] for verdict in verdicts if not (verdict["lane"] == HARDWARE.name and verdict["status"] == NOT_RUN)]
    return EXIT_CODES[next((status for status in (FAILED, NOT_RUN) if status in counted), PASSED)]


def rows_of(verdict: dict[str, object]) -> list[tuple[str, ...]]:
    """A line a case: its worst tensor, by difference over tolerance."""
    rows: list[tuple[str, ...]] = []
    for case in verdict["cases"]:  # type: ignore[attr-defined]
        worst = max(
            case["tensors"], key=lambda tensor: (not tensor["passed"], float(tensor["max_difference"]) / (tensor["tolerance"] or 1e-9))
        )
        where = f"{worst['stage']} {worst['tensor']}"
        ok = "ok" if case["passed"] else "FAILED"
        difference = f"{float(worst['max_difference']):.1e}"
        rows.append((str(verdict["lane"]), case["name"], str(len(case["tensors"])), difference, where, f"{case['seconds']:.1f}", ok))
    return rows
