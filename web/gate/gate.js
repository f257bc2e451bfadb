/**
 * The gate's page: `gate.html?backend=auto|webgpu|wasm|gpu&cases=all|short&limits=adapter|tight` (gpu: not run on a software adapter,
 * where webgpu takes any; tight: with the limits that every device has). Runs the cases in a worker and shows the verdict, which is also in
 * #verdict as JSON; `body[data-status]` is "running", then "passed", "failed" or "not run".
 */

const query = new URLSearchParams(location.search);
/** @param {string} name @param {string[]} choices the first is the default */
const choice = (name, choices) => choices.find((value) => value === query.get(name)) ?? choices[0];

/** @param {string} selector */
const find = (selector) => /** @type {HTMLElement} */ (document.querySelector(selector));

/** @typedef {{stage: string, tensor: string, runs: number, shape: number[], max_difference: number | string, tolerance: number, passed: boolean, off_by_one: number, note: string, first_difference: number[] | null}} TensorVerdict */
/** @typedef {{lane: string, status: string, reason: string, backend: string, adapter: unknown, cases: {name: string, about: string, passed: boolean, seconds: number, note: string, tensors: TensorVerdict[]}[]}} Verdict */

const worker = new Worker("gate_worker.js", { type: "module" });
worker.onmessage = ({ data }) => (data.verdict ? show(data.verdict) : tell(data.phase));
worker.onerror = ({ message }) => show({ lane: "browser", status: "failed", reason: `the worker stopped: ${message}`, backend: "", adapter: null, cases: [] });
document.body.dataset.status = "running";
worker.postMessage({ backend: choice("backend", ["auto", "webgpu", "wasm", "gpu"]), cases: choice("cases", ["all", "short"]), limits: choice("limits", ["adapter", "tight"]) });

/** @param {string} text */
function tell(text) {
  find("#status").textContent = text;
}

/** @param {Verdict} verdict */
function show(verdict) {
  tell(verdict.reason ? `${verdict.status}: ${verdict.reason}` : verdict.status);
  find("#where").textContent = verdict.backend;
  const rows = verdict.cases.flatMap((each) => each.tensors.map((tensor) => row(each.name, tensor)));
  find("tbody").replaceChildren(...rows);
  find("table").hidden = !rows.length;
  find("#verdict").textContent = JSON.stringify(verdict, null, 1);
  document.body.dataset.status = verdict.status;
}

/** @param {string} name @param {TensorVerdict} tensor */
function row(name, tensor) {
  const { stage, tensor: output, runs, max_difference: worst, tolerance, passed, off_by_one: near, note } = tensor;
  const line = document.createElement("tr");
  line.dataset.passed = String(passed);
  const outcome = [passed ? "passed" : "FAILED", near ? `${near} off by one` : "", note].filter(Boolean).join("; ");
  for (const text of [name, stage, output, runs, Number(worst).toExponential(1), tolerance || "exact", outcome]) {
    const cell = document.createElement("td");
    cell.textContent = String(text);
    line.append(cell);
  }
  return line;
}
