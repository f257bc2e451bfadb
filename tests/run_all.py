"""All tests, each folder in a process of its own, and a closing line that counts them. `make test`

A browser's driver must not share a process with PyTorch and hundreds of tests before it: it has hung there, for ever and without a word.
Exit code: 1 where a test failed, 4 where one could not run, else 0.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tests", "playwright")
NOT_RUN = 4
WORDS = {"failure": "failed", "error": "failed", "skipped": "skipped"}  # of JUnit's XML


def run(folder: str, report: Path) -> tuple[int, Counter[str]]:
    """Run a folder's tests; -> pytest's exit code, and how many passed, failed, skipped, took how many seconds."""
    code = subprocess.run([sys.executable, "-m", "pytest", folder, f"--junitxml={report}", *sys.argv[1:]], cwd=ROOT).returncode
    counts: Counter[str] = Counter()
    if report.exists():
        for case in ElementTree.parse(report).iter("testcase"):
            counts[next((WORDS[child.tag] for child in case if child.tag in WORDS), "passed")] += 1
    return code, counts


def main() -> int:
    codes, total = [], Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        for folder in FOLDERS:
            code, counts = run(folder, Path(place) / f"{folder}.xml")
            codes.append(code)
            total += counts
    verdict = 0 if not any(codes) else NOT_RUN if set(codes) <= {0, NOT_RUN} else 1
    outcome = {0: "passed", 1: "FAILED", NOT_RUN: "NOT RUN in part"}[verdict]
    print(f"{outcome}: {sum(total.values())} tests, {total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return verdict


if __name__ == "__main__":
    sys.exit(main())
