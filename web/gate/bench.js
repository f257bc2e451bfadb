/**
 * The benchmark's page: `bench.html?backend=auto|webgpu|wasm&lanes=quick|wasm|gpu|compare|headline|long|dispatches&recorded=yes|no&limits=adapter|tight
 * &own_kernels=yes|no&kernels=no|yes&tile_batch=N`; results also in #verdict, `body[data-status]` as gate.js.
 */

const query = new URLSearchParams(location.search);
/** @param {string} name @param {string[]} choices the first is the default */
const choice = (name, choices) => choices.find((value) => value === query.get(name)) ?? choices[0];

/** @param {string} selector */
const find = (selector) => /** @type {HTMLElement} */ (document.querySelector(selector));

/** @typedef {{lane: string, tiles: number, tokens: number, seconds: number, first_frame_s: number}} Times */

const worker = new Worker("bench_worker.js", { type: "module" });
worker.onmessage = ({ data }) => {
  if (data.times) row(data.times);
  else if (data.result) end(data.result);
  else find("#status").textContent = data.phase;
};
worker.onerror = ({ message }) => end({ status: "failed", reason: message });
document.body.dataset.status = "running";
worker.postMessage({ backend: choice("backend", ["auto", "webgpu", "wasm"]), lanes: choice("lanes", ["quick", "wasm", "gpu", "compare", "headline", "long", "dispatches"]), recorded: choice("recorded", ["yes", "no"]) === "yes", limits: choice("limits", ["adapter", "tight"]), ownKernels: choice("own_kernels", ["yes", "no"]) === "yes", kernels: choice("kernels", ["no", "yes"]) === "yes", tileBatch: Math.max(0, Number.parseInt(query.get("tile_batch") ?? "0", 10) || 0) });

/** @param {Times} times */
function row({ lane, tiles, tokens, seconds, first_frame_s: first }) {
  const line = document.createElement("tr");
  for (const text of [lane, tiles, tokens.toFixed(1), (1000 * seconds).toFixed(1), (1 / seconds).toFixed(1), first.toFixed(2)]) {
    const cell = document.createElement("td");
    cell.textContent = String(text);
    line.append(cell);
  }
  find("tbody").append(line);
}

/** @param {{status: string, reason: string}} result */
function end(result) {
  find("#status").textContent = result.reason ? `${result.status}: ${result.reason}` : result.status;
  find("#verdict").textContent = JSON.stringify(result, null, 1);
  document.body.dataset.status = result.status;
}
