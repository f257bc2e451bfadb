"""What the command line shows on stderr and in tables; file names are hostile, so nothing from outside is printed as it came."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

PLAIN_INTERVAL_S = 5.0  # between progress lines where stderr is no terminal
TABLE_WIDTH = 200  # columns, where stdout is no terminal


def printable(text: object) -> str:
    """One line, control characters, bidi marks and undecodable bytes as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def say(text: object) -> None:
    """A line on stderr."""
    print(printable(text), file=sys.stderr, flush=True)


def tell(text: object) -> None:
    """Lines of results on stdout, as they are; no error where nobody reads them any more."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell_table(table: Table) -> None:
    """A table on stdout."""
    console = stdout_console()
    with console.capture() as shown:
        console.print(table)
    tell(shown.get().rstrip("\n"))


def stderr_console() -> Console:
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def stdout_console() -> Console:
    """Tables are not cut to 80 columns in a pipe."""
    return Console(markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else TABLE_WIDTH)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """right: columns that are flush right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return made


def size_of(count: int) -> str:
    """Bytes for people: "13.0 MB"."""
    for unit, size in (("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def duration(seconds: float) -> str:
    minutes, left = divmod(round(seconds), 60)
    return f"{minutes} min {left} s" if minutes else f"{left} s"


class FrameProgress:
    """Frames done, gaze fps and the time left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.task = None if progress is None else progress.add_task("gazing", total=None, fps="")
        self.begin = self.told = monotonic()

    def __call__(self, done: int, total: int | None, fps: float) -> None:
        """As render.Report."""
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=done, total=total, fps=f"{fps:.1f} fps" if done else "")
        elif done and monotonic() - self.told > PLAIN_INTERVAL_S:
            self.told = monotonic()
            say(self._line(done, total, fps))

    def _line(self, done: int, total: int | None, fps: float) -> str:
        if total is None:
            return f"frame {done} · {fps:.1f} fps"
        left = (self.told - self.begin) / done * max(total - done, 0)
        return f"frame {done}/{total} · {fps:.1f} fps · {duration(left)} left"


@contextmanager
def frame_progress() -> Iterator[FrameProgress]:
    """A FrameProgress that is taken from the screen at the end."""
    with _bar(TextColumn("{task.fields[fps]}")) as progress:
        yield FrameProgress(progress)


class StepProgress:
    """Named steps of a known number."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.begun = progress, total, 0
        self.task = None if progress is None else progress.add_task("", total=total)

    def __call__(self, name: str) -> None:
        """Step `name` begins."""
        self.begun += 1
        if self.progress is not None and self.task is not None:
            self.progress.update(self.task, completed=self.begun - 1, description=name)
        else:
            say(f"[{self.begun}/{self.total}] {name}")


@contextmanager
def step_progress(total: int) -> Iterator[StepProgress]:
    """A StepProgress that is taken from the screen at the end."""
    with _bar() as progress:
        yield StepProgress(progress, total)


@contextmanager
def _bar(*more: TextColumn) -> Iterator[Progress | None]:
    console = stderr_console()
    if not console.is_terminal:
        yield None
        return
    description = TextColumn("{task.description}", markup=False)
    with Progress(
        description, BarColumn(), MofNCompleteColumn(), *more, TimeRemainingColumn(), console=console, transient=True, refresh_per_second=4
    ) as progress:
        yield progress
