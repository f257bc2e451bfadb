"""What a runtime computed, held to the fixtures: per output the largest difference and the first, and one verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

from autogaze_web.checkpoint import Checkpoint
from autogaze_web.gate.cases import CASES, Case
from autogaze_web.gate.fixtures import CaseRecord, FixtureSet, Kept, keep
from autogaze_web.gate.play import STEP, play
from autogaze_web.runtime import HostTensor, Runtime

EXACT = 0.0
PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
EXIT_CODES = {PASSED: 0, FAILED: 3, NOT_RUN: 4}
OUTPUTS = {  # absolute tolerances of floats; those of EMBEDDINGS are relative
    "tiles": 1e-5,
    "probs": 2e-3,
    "task_loss": 2e-3,
    "ratios": EXACT,
    "psnr_db": 0.01,
}
EMBEDDINGS = ("vision",)
RELATIVE = {"webgpu": 1e-3, "wasm": 1e-4, "cpu": 1e-4}
PANELS = ("mask_panel", "output_panel")  # may be off by one level where a blend rounds; that is counted


@dataclass
class TensorVerdict:
    """One output over all its runs in a case."""

    stage: str
    tensor: str
    runs: int
    shape: list[int]
    max_difference: float
    tolerance: float
    passed: bool
    first_difference: list[int] | None = None  # run, element (of what is kept)
    off_by_one: int = 0  # samples of a panel
    note: str = ""


@dataclass
class CaseVerdict:
    name: str
    about: str
    passed: bool
    seconds: float
    tensors: list[TensorVerdict] = field(default_factory=list)
    note: str = ""


@dataclass
class Verdict:
    """Of a whole lane; status is one of EXIT_CODES."""

    lane: str
    status: str
    reason: str  # why not run; "" otherwise
    backend: str
    made: dict[str, Any]  # the fixtures' provenance
    cases: list[CaseVerdict] = field(default_factory=list)
    adapter: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


async def judge(
    lane: str, kind: str, fixtures: FixtureSet, models: Mapping[str, tuple[Runtime, Checkpoint]], cases: Sequence[Case] = CASES
) -> Verdict:
    """Run the cases whose model is there; kind: a key of RELATIVE. StaleError for fixtures of other weights."""
    backend = next(iter(models.values()))[0].backend
    verdicts = []
    for case in cases:
        if case.model not in models:
            continue
        runtime, checkpoint = models[case.model]
        fixtures.check_weights(case.model, checkpoint.sha256)
        verdicts.append(await judge_case(case, kind, fixtures, runtime, checkpoint))
    status = PASSED if verdicts and all(case.passed for case in verdicts) else FAILED if verdicts else NOT_RUN
    return Verdict(lane, status, "" if verdicts else "there was no case to run", backend, fixtures.made, verdicts)


async def judge_case(case: Case, kind: str, fixtures: FixtureSet, runtime: Runtime, checkpoint: Checkpoint) -> CaseVerdict:
    """One case; an output that is missing, or there too often, fails."""
    wanted = fixtures.cases[case.name]
    found = Comparison(wanted, kind)
    begin = perf_counter()
    await play(case, runtime, checkpoint, fixtures.clips[case.clip], found.tell)
    tensors = found.finish()
    passed = bool(tensors) and all(tensor.passed for tensor in tensors)
    return CaseVerdict(case.name, case.about, passed, round(perf_counter() - begin, 3), tensors, found.margin_note())


class Comparison:
    """Compares outputs as they come with those of a record."""

    def __init__(self, wanted: CaseRecord, kind: str) -> None:
        self.wanted, self.kind = wanted, kind
        self.verdicts: dict[tuple[str, str], TensorVerdict] = {}
        self.seen: dict[tuple[str, str], int] = {}
        self.first_id: tuple[int, int] | None = None  # block, element in it, of the first id that differs

    def tell(self, graph: str, name: str, tensor: HostTensor) -> None:
        """A Tell of play.play."""
        key = graph, name
        run = self.seen[key] = self.seen.get(key, -1) + 1
        runs = self.wanted.kept.get(key, [])
        verdict = self.verdicts.setdefault(
            key, TensorVerdict(graph, name, 0, list(tensor.shape), 0.0, self.tolerance(name, tensor.dtype), True)
        )
        verdict.runs = run + 1
        if run >= len(runs):
            verdict.passed, verdict.note = False, f"the fixtures have {len(runs)} runs of it"
            return
        self.compare(verdict, run, runs[run], keep(tensor))

    def tolerance(self, name: str, dtype: str) -> float:
        if dtype != "float32":
            return 1.0 if name in PANELS else EXACT
        return RELATIVE[self.kind] if name in EMBEDDINGS else OUTPUTS[name]

    def compare(self, verdict: TensorVerdict, run: int, wanted: Kept, found: Kept) -> None:
        if (wanted.shape, wanted.dtype) != (found.shape, found.dtype):
            verdict.passed = False
            verdict.note = verdict.note or f"run {run} is {found.dtype} {list(found.shape)} instead of {wanted.dtype} {list(wanted.shape)}"
            return
        relative = max((abs(value) for value in wanted.values), default=1.0) or 1.0 if verdict.tensor in EMBEDDINGS else 1.0
        gaps = [abs(a - b) / relative for a, b in zip(wanted.values, found.values, strict=True)]
        worst = max((gap if not math.isnan(gap) else math.inf for gap in gaps), default=0.0)
        if wanted.dtype == "float32" and not wanted.whole:
            worst = max(worst, abs(wanted.digest - found.digest) / (wanted.digest or 1.0))
        if wanted.dtype == "uint8":
            verdict.off_by_one += sum(gap == 1 for gap in gaps)
            if worst == 0 and wanted.digest != found.digest:
                worst = 1.0  # somewhere between the samples
                verdict.note = "bytes differ outside the samples"
                if verdict.tensor in PANELS:
                    verdict.passed = False  # by how much is not known
        verdict.max_difference = max(verdict.max_difference, worst)
        if worst > verdict.tolerance:
            verdict.passed = False
        if worst > verdict.tolerance and verdict.first_difference is None:
            place = next((i for i, gap in enumerate(gaps) if not gap <= verdict.tolerance), -1)
            verdict.first_difference = [run, place]
            if (verdict.stage, verdict.tensor) == (STEP, "block_ids"):
                self.first_id = run, place

    def finish(self) -> list[TensorVerdict]:
        """All outputs, those that never came included."""
        for (graph, name), runs in self.wanted.kept.items():
            came = self.seen.get((graph, name), -1) + 1
            if came < len(runs):
                kept = runs[0]
                verdict = self.verdicts.setdefault((graph, name), TensorVerdict(graph, name, came, list(kept.shape), 0.0, 0.0, False))
                verdict.passed, verdict.note = False, verdict.note or f"came {came} times instead of {len(runs)}"
        return list(self.verdicts.values())

    def margin_note(self) -> str:
        """Where an id differs: how near the decision was, for a person; it excuses nothing."""
        if self.first_id is None:
            return ""
        block, element = self.first_id
        margins = self.wanted.margins[block] if block < len(self.wanted.margins) else []
        rows = len(margins) or 1
        kept = self.wanted.kept[STEP, "block_ids"][block]
        row = element // max(1, kept.size // rows)
        lead = f"{margins[row]:.2e}" if row < len(margins) else "unknown"
        return f"The first other id is in block {block}, row {row}; the reference's smallest lead of a chosen id there is {lead} (logits)."
