"""What Python gives the page: `python3 python_archive.py FOLDER` writes autogaze_web.zip and controls.json there.

The archive holds what Pyodide can import, which is the standard library's company only. Stored, not compressed, with fixed dates: the
same sources give the same bytes under any zlib.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "pyapp" / "autogaze_web"

CPYTHON_ONLY = (  # modules that need typer, rich, NumPy, PyAV, Pillow, ONNX Runtime, a server or a file system
    "arguments",
    "cli",
    "display",
    "gate/files",
    "gate/lanes",
    "gate_commands",
    "gif",
    "planes",
    "render",
    "runtimes/native",
    "server",
    "training_commands",
    "video",
    "whole_files",
)
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip can hold


def modules() -> list[Path]:
    """Sources of the package that go to the page, relative to it, sorted."""
    found = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    return sorted(path for path in found if path.with_suffix("").as_posix() not in CPYTHON_ONLY)


def write_archive(path: Path) -> None:
    """The package as a zip whose root is autogaze_web/."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for module in modules():
            entry = zipfile.ZipInfo(f"{PACKAGE.name}/{module.as_posix()}", EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (PACKAGE / module).read_bytes())


def controls() -> str:
    """The page's controls as JSON."""
    from autogaze_web.controls import describe

    return json.dumps(describe(), allow_nan=False, ensure_ascii=False, indent=1) + "\n"


def write_parity(folder: Path) -> None:
    """The gate's fixtures and the checkpoint of noise that some are of."""
    from autogaze_web.gate.files import fixture_files, noise_files

    for place, files in ((folder, fixture_files()), (folder / "noise", noise_files())):
        place.mkdir(parents=True)
        for name, content in files.items():
            (place / name).write_bytes(content)


def main(folder: Path) -> None:
    sys.path.insert(0, str(PACKAGE.parent))
    sys.dont_write_bytecode = True
    write_archive(folder / "autogaze_web.zip")
    write_parity(folder / "parity")
    (folder / "controls.json").write_text(controls(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
