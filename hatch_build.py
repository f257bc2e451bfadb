"""What a wheel carries besides the Python packages: the built page with the model in it, or, where no page was built, the model alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE, MODEL = "web/dist", "web/models/default"
NOT_CARRIED = {  # of the page: what only a checkout is for
    "parity",
    *("gate.html", "gate.js", "gate.css", "gate_worker.js"),
    *("bench.html", "bench.js", "bench_worker.js"),
}


class CarryPage(BuildHookInterface):
    """Adds files to a wheel; an editable install finds them in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        root = Path(self.root)
        if not (root / PAGE / "build.json").is_file():
            build_data["force_include"][MODEL] = "autogaze_web/models/default"
            return
        for file in sorted((root / PAGE).rglob("*")):
            if file.is_file() and file.suffix != ".map":  # source maps are for those who have the sources
                name = file.relative_to(root / PAGE).as_posix()
                if name.split("/")[0] in NOT_CARRIED:
                    continue
                build_data["force_include"][f"{PAGE}/{name}"] = f"autogaze_web/page/{name}"
