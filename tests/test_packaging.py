"""What goes to Pyodide imports there, and what goes into a wheel is found by those who install it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path

import av
import pytest

import python_archive

ROOT = Path(__file__).resolve().parents[1]
PLAIN = """
import importlib, sys, types
sys.path.insert(0, sys.argv[1])
for name in ("js", "pyodide", "pyodide.ffi"):  # what Pyodide adds to the standard library
    module = sys.modules[name] = types.ModuleType(name)
    module.__getattr__ = lambda attribute: type(attribute, (Exception,), {})
for name in sys.argv[2:]:
    importlib.import_module(name)
"""
WHERE = "from autogaze_web.arguments import built_in_model; from autogaze_web.server import page_folder; print(built_in_model(), {})"


def module_names() -> list[str]:
    names = (".".join(("autogaze_web", *path.with_suffix("").parts)) for path in python_archive.modules())
    return [name.removesuffix(".__init__") for name in names]


def test_the_archive_imports_with_the_standard_library_alone(tmp_path: Path) -> None:
    archive = tmp_path / "autogaze_web.zip"
    python_archive.write_archive(archive)
    alone = [sys.executable, "-I", "-S", "-c", PLAIN, str(archive)]  # no site-packages: no NumPy, PyAV, ONNX Runtime, typer
    done = subprocess.run([*alone, *module_names()], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stderr}\nName it in CPYTHON_ONLY of web/python_archive.py, or import what it needs late."


def test_the_archive_has_what_the_page_needs_and_no_more() -> None:
    names = module_names()
    assert {"autogaze_web.pipeline", "autogaze_web.controls", "autogaze_web.runtimes"} <= set(names)
    assert "autogaze_web.cli" not in names
    gone = [name for name in python_archive.CPYTHON_ONLY if not (python_archive.PACKAGE / f"{name}.py").is_file()]
    assert not gone, f"no longer there, though CPYTHON_ONLY names them: {gone}"


def test_the_same_sources_give_the_same_archive(tmp_path: Path) -> None:
    for name in ("one", "two"):
        python_archive.write_archive(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with zipfile.ZipFile(tmp_path / "one") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {python_archive.EPOCH}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is built from, without a built page."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in ("pyapp", "export", "web/models"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def built(sources: Path, out: Path) -> Path:
    """The wheel, unpacked as an installation would."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    subprocess.run(command, cwd=sources, check=True, capture_output=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "installed")
    return out / "installed"


def asked(installed: Path, page: str) -> list[str]:
    """Where the installed package finds its model and its page."""
    alone = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r}); {WHERE.format(page)}"]
    return subprocess.run(alone, cwd=installed, check=True, capture_output=True, text=True).stdout.split()


def test_a_wheel_without_the_page_has_the_model(sources: Path, tmp_path: Path) -> None:
    installed = built(sources, tmp_path)
    assert asked(installed, "''") == [str(installed / "autogaze_web" / "models" / "default")]
    assert not (installed / "autogaze_web" / "page").exists()


def test_a_wheel_with_the_page_has_the_model_once(sources: Path, tmp_path: Path) -> None:
    page = sources / "web" / "dist"
    shutil.copytree(ROOT / "web" / "models", page / "models")
    for name in ("build.json", "index.html", "main.js", "main.js.map"):
        (page / name).write_text("{}")
    try:
        installed = built(sources, tmp_path)
    finally:
        shutil.rmtree(page)
    inside = installed / "autogaze_web" / "page"
    assert asked(installed, "page_folder()") == [str(inside / "models" / "default"), str(inside)]
    assert [path.name for path in installed.rglob("model.safetensors")] == ["model.safetensors"]
    assert (inside / "main.js").is_file()
    assert not (inside / "main.js.map").exists()


def test_an_editable_install_carries_nothing() -> None:
    script = "import hatch_build as h, types; d = {}; h.CarryPage.initialize(types.SimpleNamespace(root='.'), 'editable', d); print(d)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "{}\n"  # whether the page was built or not; it is found in the checkout


def test_the_sample_clip_is_small_and_has_its_cut() -> None:
    path = ROOT / "web" / "sample" / "sample.webm"
    assert path.stat().st_size <= 600_000  # bytes
    with av.open(str(path)) as clip:
        stream = clip.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height, stream.average_rate) == ("vp9", 640, 360, 24)
        frames = [frame.to_ndarray(format="gray").astype(int) for frame in clip.decode(video=0)]
    assert len(frames) == 144
    changes = [abs(after - before).mean() for before, after in pairwise(frames)]
    assert changes.index(max(changes)) == 91  # from frame 91 to 92
    assert max(changes) > 5 * sorted(changes)[-2]
