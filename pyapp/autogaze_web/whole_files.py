"""Files that appear whole or not at all (CPython only)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from autogaze_web.errors import SettingsError


@contextmanager
def whole_files(folder: Path, stale: Collection[str] = ()) -> Iterator[Path]:
    """A hidden folder to write in; its files move into `folder`, over earlier ones, when the block ends well.

    Then files named in `stale` go, where the block wrote none of that name. After an error or Ctrl-C everything in `folder` is as it was
    before. Folders that were made for the block and stay empty are gone. SettingsError where nothing can be written to `folder`.
    """
    with ExitStack() as undo:
        partial = _partial_folder(folder, undo)
        yield partial
        written = sorted(partial.iterdir())
        for file in written:
            file.replace(folder / file.name)
        for name in set(stale) - {file.name for file in written}:
            if (folder / name).is_file():
                (folder / name).unlink()


def _partial_folder(folder: Path, undo: ExitStack) -> Path:
    try:
        for place in reversed([place for place in (folder, *folder.parents) if not place.exists()]):
            place.mkdir(exist_ok=True)
            undo.callback(_remove_empty, place)
        partial = Path(tempfile.mkdtemp(prefix=".", suffix=".partial", dir=folder))
    except (NotADirectoryError, FileExistsError) as error:
        raise SettingsError(f"{folder} is a file or in one, and a folder is needed for the results. Name another one.") from error
    except OSError as error:
        raise SettingsError(f"Nothing can be written to {folder}: {error.strerror or error}. Name another folder.") from error
    undo.callback(shutil.rmtree, partial, ignore_errors=True)
    return partial


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def write_whole(path: Path, text: str) -> None:
    """Write one file, over an earlier one."""
    with whole_files(path.parent) as partial:
        (partial / path.name).write_text(text, encoding="utf-8")
