"""Files that appear whole or not at all (CPython only)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """A hidden folder to write in; its files move into `folder`, over earlier ones, when the block ends well.

    After an error or Ctrl-C everything in `folder` is as it was before, and a `folder` that was made for the block is gone.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=folder))
    try:
        yield partial
        for file in sorted(partial.iterdir()):
            file.replace(folder / file.name)
        made = False
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if made:
            with suppress(OSError):
                folder.rmdir()


def write_whole(path: Path, text: str) -> None:
    """Write one file, over an earlier one."""
    with whole_files(path.parent) as partial:
        (partial / path.name).write_text(text, encoding="utf-8")
