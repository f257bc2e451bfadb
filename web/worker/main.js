/**
 * The worker: takes the page's orders (web/shared/messages.js), one job at a time. Everything that is slow or large lives here.
 */

import { Engine } from "./engine.js";
import { Job } from "./job.js";
import { cardOf } from "./python.js";
import { save } from "./saving.js";
import { Screen } from "./screen.js";
import { liveFrames } from "./video.js";

/** @typedef {import("../shared/messages.js").Order} Order */
/** @typedef {import("../shared/messages.js").News} News */

/** @type {Engine} */
let engine;
/** @type {Screen} */
let screen;
/** @type {Promise<void>} */
let started;
/** @type {Job | null} */
let job = null;
/** @type {Promise<void>} jobs begin one after the other */
let turn = Promise.resolve();
let latest = 0; // number of the run that was asked for last
let unwanted = 0; // of the run that was cancelled last
/** @type {Map<number, AbortController>} downloads that are being made, by request */
const saving = new Map();

/** @param {News} news */
function post(news) {
  self.postMessage(news);
}

/** @type {{[Type in Order["type"]]: (order: Extract<Order, {type: Type}>) => unknown}} */
const ORDERS = {
  boot: ({ canvases, backend, strict }) => {
    screen = new Screen(canvases);
    engine = new Engine(post, backend, strict, (device) => screen.use(device));
    started = engine.start();
    started.then(
      () => post({ type: "ready", backend: engine.backend, model: /** @type {any} */ (engine.modelInfo) }),
      (error) => post({ type: "failed", run: null, card: cardOf(error) }),
    );
  },
  open: (order) => {
    latest = order.run;
    job?.stop();
    turn = turn.then(() => begin(order)).catch((error) => post({ type: "failed", run: order.run, card: cardOf(error) }));
  },
  cancel: ({ run }) => {
    unwanted = run;
    if (job?.run === run) job.stop(); // one that is being opened, too
  },
  paint: ({ run, settings }) => attempt(run, () => current(run)?.repaint(settings)),
  show: ({ run, index, request }) => attempt(run, () => current(run)?.show(index, request)),
  follow: ({ run, on }) => current(run)?.follow(on),
  export: ({ run, request, ...wish }) => answering(request, () => exported(run, request, wish)),
  "stop-export": ({ request }) => saving.get(request)?.abort(),
  model: ({ request, files }) => answering(request, () => swap(request, files)),
  "built-in": ({ request }) => answering(request, async () => exchange(request, await engine.openBuiltIn(), true)),
  cache: ({ request, clear }) => answering(request, async () => post({ type: "cache", request, entries: await engine.assets.kept(clear) })),
  diagnostics: ({ request }) => answering(request, async () => post({ type: "diagnostics", request, report: diagnostics() })),
  visible: ({ on }) => {
    if (screen) screen.on = on;
  },
};

self.onmessage = ({ data }) => ORDERS[/** @type {Order} */ (data).type]?.(/** @type {never} */ (data));

/** @param {number} run */
function current(run) {
  return job?.run === run && job.take ? job : null;
}

/** @param {Extract<Order, {type: "open"}>} order */
async function begin({ run, file, name, settings }) {
  await started;
  await job?.close();
  job = null;
  if (run !== latest) return; // another one was asked for meanwhile
  if (run === unwanted) return post({ type: "cancelled", run, frames: 0 });
  const next = new Job(run, file, name, settings, engine, screen, post);
  job = next;
  void next.start();
}

/** Do something of a run that has frames; what goes wrong is a notice, for the frames are still there. @param {number} run @param {() => Promise<void> | undefined} work */
function attempt(run, work) {
  Promise.resolve()
    .then(work)
    .catch((error) => {
      const { title, found } = cardOf(error);
      if (run === latest) post({ type: "notice", kind: "warning", text: `${title} ${found}` });
    });
}

/** Answer a request, with a card where it cannot be done. @param {number} request @param {() => Promise<unknown>} work */
function answering(request, work) {
  started
    .then(work)
    .catch((error) => post({ type: "refused", request, card: cardOf(error) }));
}

/** @param {number} run @param {number} request @param {Omit<Extract<Order, {type: "export"}>, "type" | "run" | "request">} wish */
async function exported(run, request, wish) {
  const from = current(run);
  if (!from) throw new Error("The video this belongs to is no longer open.");
  if (from.stopped) await from.ended; // the frame it was at is still being done: one file would know of it, another not
  const abort = new AbortController();
  saving.set(request, abort);
  try {
    const report = (/** @type {number} */ done, /** @type {number} */ total) => post({ type: "exporting", request, done, total });
    for (const { blob, name } of await save(from, wish, { report, signal: abort.signal })) post({ type: "exported", request, blob, name });
  } finally {
    saving.delete(request);
  }
}

/** @param {number} request @param {{name: string, file: Blob}[]} files */
async function swap(request, files) {
  /** @type {Record<string, Uint8Array>} */
  const contents = {};
  let folder = "";
  for (const { name, file } of files) {
    const parts = name.split("/");
    contents[/** @type {string} */ (parts.pop())] = new Uint8Array(await file.arrayBuffer());
    folder ||= parts.pop() ?? "";
  }
  await exchange(request, await engine.openModel(folder || "your model", contents), false);
}

/** Use another model; a running job ends, because its sessions go. @param {number} request @param {any} model @param {boolean} builtIn */
async function exchange(request, model, builtIn) {
  turn = turn.then(async () => {
    await job?.close();
    job = null;
    post({ type: "model", request, model: await engine.use(model, builtIn) });
  });
  await turn;
}

/** @returns {Record<string, unknown>} */
function diagnostics() {
  const { backend, device, inference, modelInfo, times, versions } = engine;
  return {
    backend,
    versions,
    features: device ? [...device.features] : [],
    kernels: [...engine.kernels].sort(),
    limits: device ? { maxBufferSize: device.limits.maxBufferSize, maxStorageBufferBindingSize: device.limits.maxStorageBufferBindingSize } : {},
    crossOriginIsolated: self.crossOriginIsolated,
    model: modelInfo,
    startMilliseconds: times,
    selfTest: engine.selfTest || "passed, or not needed",
    live: { tensors: inference?.live ?? 0, videoFrames: liveFrames(), sessions: inference?.sessions.size ?? 0, runs: inference?.runs ?? 0 },
    job: job?.take ? JSON.parse(job.take.state()) : null,
    warnings: job?.warnings ?? [],
  };
}
