"""The package's own tests, those that need only plain Python, inside the Pyodide that the page runs, with pytest from here.

Property tests stay on CPython: hypothesis has a native part, which Pyodide has no build of. They are left out by a stand-in.
"""

from __future__ import annotations

import ast
import importlib.util
import io
import json
import sys
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests"
SITE = Path(pytest.__file__).parents[1]  # where packages are
PACKAGES = ("py", "pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments")
PLAIN = {"autogaze_web", "hypothesis", "pytest", "tiny_checkpoint"}  # what a test may import besides the standard library
CPYTHON = {"arguments", "cli", "display", "gif", "planes", "render", "server", "video", "whole_files", "runtimes", "files", "lanes"}
LEAST = 150  # tests: fewer means that the choice of files went wrong
CONFTEST = """
import pytest
from tiny_checkpoint import tiny_files
from autogaze_web.config import parse_config, parse_preprocessor

@pytest.fixture(scope="session")
def config(): return parse_config(open("/tests/data/upstream/config.json", "rb").read())

@pytest.fixture(scope="session")
def preprocessor(): return parse_preprocessor(open("/tests/data/upstream/preprocessor_config.json", "rb").read())
"""
NO_HYPOTHESIS = """
class Anything:
    def __getattr__(self, name): return self
    def __call__(self, *arguments, **named): return self
    def __or__(self, other): return self
strategies = Anything()
def given(*arguments, **named): return lambda test: None  # which is not collected
def settings(*arguments, **named): return lambda test: test
example = settings
def assume(condition): return True
"""
RUN = """
import sys
sys.path[:0] = ["/lib/autogaze", "/site", "/tests"]
import os; os.chdir("/tests")
import pytest
class Counts:
    def __init__(self): self.passed, self.failed = 0, []
    def pytest_runtest_logreport(self, report):
        self.passed += report.when == "call" and report.passed
        if report.failed or report.skipped: self.failed.append(f"{report.nodeid}: {report.longreprtext[-1500:]}")
    def pytest_collectreport(self, report):
        if report.failed: self.failed.append(f"{report.nodeid}: {report.longreprtext[-1500:]}")
counts = Counts()
options = ["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--rootdir=/tests", "-c", "/dev/null"]
code = pytest.main([*options, "/tests"], plugins=[counts])
import json
json.dumps({"code": int(code), "passed": counts.passed, "failed": counts.failed, "python": sys.version, "platform": sys.platform})
"""
WORKER = """
onmessage = async () => {
  try {
    const base = new URL("vendor/pyodide/", location.href).href;
    const { loadPyodide } = await import(`${base}pyodide.mjs`);
    const pyodide = await loadPyodide({ indexURL: base, stdout: () => undefined });
    const unpack = async (path, folder) => pyodide.unpackArchive(await (await fetch(path)).arrayBuffer(), "zip", { extractDir: folder });
    await unpack("autogaze_web.zip", "/lib/autogaze");
    await unpack("tests-for-pyodide.zip", "/");
    postMessage(pyodide.runPython(RUN));
  } catch (error) {
    postMessage(JSON.stringify({ code: -1, passed: 0, failed: [String(error)] }));
  }
};
""".replace("RUN", json.dumps(RUN))


def plain_tests() -> list[Path]:
    """Test files whose imports Pyodide has."""
    return [path for path in sorted(TESTS.glob("test_*.py")) if is_plain(path)]


def is_plain(path: Path) -> bool:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first not in PLAIN and importlib.util.find_spec(first) is not None and not is_standard(first):
                return False
            if first == "autogaze_web" and CPYTHON & set(rest):
                return False
    return True


def is_standard(name: str) -> bool:
    return name in sys.stdlib_module_names


def archive() -> bytes:
    """Tests, what they need, and the packages that run them."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in (*plain_tests(), TESTS / "tiny_checkpoint.py"):
            packed.write(path, f"tests/{path.name}")
        for name in ("config.json", "preprocessor_config.json"):
            packed.write(TESTS / "data" / "upstream" / name, f"tests/data/upstream/{name}")
        packed.writestr("tests/conftest.py", CONFTEST)
        packed.writestr("site/hypothesis.py", NO_HYPOTHESIS)
        for name in PACKAGES:
            spec = importlib.util.find_spec(name)
            assert spec is not None and spec.origin is not None, name
            origin = Path(spec.origin)
            for path in origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]:
                packed.write(path, f"site/{path.relative_to(SITE).as_posix()}")
    return file.getvalue()


def test_the_packages_own_tests_pass_in_pyodide(page: Page, site: str) -> None:
    packed = archive()
    page.context.route("**/tests-for-pyodide.zip", lambda route: route.fulfill(body=packed, content_type="application/zip"))
    headers = {"cross-origin-embedder-policy": "require-corp", "cross-origin-resource-policy": "same-origin"}
    page.context.route("**/tests-worker.js", lambda route: route.fulfill(body=WORKER, content_type="text/javascript", headers=headers))
    page.goto(f"{site}/LICENSES.txt")  # any page of the site: its policy is the site's
    answer = page.evaluate(
        "() => new Promise((resolve, reject) => { const worker = new Worker('tests-worker.js', {type: 'module'});"
        " worker.onmessage = ({data}) => resolve(data); worker.onerror = (event) => reject(event.message); worker.postMessage(0); })"
    )
    result = json.loads(answer)
    print(f"{result['passed']} tests of {len(plain_tests())} files passed in Pyodide ({result.get('python', '')})")
    assert not result["failed"], "\n".join(result["failed"])
    assert result["code"] == 0
    assert result["platform"] == "emscripten"
    assert result["passed"] >= LEAST
