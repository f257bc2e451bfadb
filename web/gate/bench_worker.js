/** The benchmark's worker: the page's own engine, timed. */

import { Engine } from "../worker/engine.js";
import { answer, cardOf, heapBytes } from "../worker/python.js";
import { TIGHT, circumstances, files } from "./circumstances.js";
import { KernelTimes } from "./gpu_kernels.js";
import { meterGpu } from "./gpu_meter.js";

const counts = meterGpu();

self.onmessage = async ({ data: { backend, lanes, recorded, limits, kernels, ownKernels, tileBatch } }) => {
  const begin = performance.now();
  const times = kernels && "GPUDevice" in self ? new KernelTimes() : null;
  let engine = null;
  try {
    engine = new Engine((news) => news.type === "loading" && self.postMessage({ phase: news.phase }), backend, false, () => undefined);
    engine.recorded = recorded;
    engine.ownKernels = ownKernels;
    if (limits === "tight") engine.limits = TIGHT;
    await engine.start();
    self.postMessage({ phase: "Timing" });
    const fixtures = await files(engine, engine.assets.under("parity/").filter((path) => !path.includes("noise")));
    const { device } = engine;
    const sync = async (/** @type {string} */ graph) => {
      await device?.queue.onSubmittedWorkDone();
      const done = counts.dispatches;
      if (device) await times?.settle(device, graph);
      return done;
    };
    const held = () => counts.bytes;
    // Python's memory, and JavaScript's where the browser tells.
    const heap = () => heapBytes() + (/** @type {any} */ (performance).memory?.usedJSHeapSize ?? 0);
    /** @type {Record<string, unknown>} */
    const profiles = {};
    const tell = (/** @type {string} */ text) => {
      const lane = JSON.parse(text);
      if (times) profiles[lane.lane] = times.take();
      self.postMessage({ times: lane });
    };
    const timed = JSON.parse(await answer(engine.python.run_bench(engine.model, engine.runtime, fixtures, lanes, tileBatch, sync, held, heap, tell)));
    const apart = timed.filter((/** @type {{agrees: boolean}} */ { agrees }) => !agrees).map((/** @type {{lane: string}} */ { lane }) => lane);
    const reason = apart.length ? `other ids when frames are begun ahead: ${apart.join("; ")}` : "";
    self.postMessage({ result: { status: reason ? "failed" : "passed", reason, lanes: timed, ...(times ? { profiles } : {}), gpu: counts, recorded: engine.recorded, ...engine.inference?.held, ...circumstances(engine, begin) } });
  } catch (error) {
    const { title, found, detail } = cardOf(error);
    const failed = { status: "failed", reason: `${title} ${found}`, detail };
    self.postMessage({ result: engine ? { ...failed, ...circumstances(engine, begin) } : failed });
  }
};
