"""The command line, called in this process or in one of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from typer.testing import CliRunner, Result

from autogaze_web import cli


def call(*words: object, env: Mapping[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli.app, [str(word) for word in words], env=env)


def refused(result: Result, code: int) -> str:
    """The one line of an error, without "error: "."""
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ") and line.isprintable()
    return line.removeprefix("error: ")


def process(*words: object, before: str = "") -> list[str]:
    """The command line of a process of its own; `before`: Python to run first."""
    return [sys.executable, "-c", f"import sys\n{before}\nfrom autogaze_web.cli import main\nmain()", *(str(word) for word in words)]


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
