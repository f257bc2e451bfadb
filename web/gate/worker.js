/** The gate's worker: the page's own engine, strict (no node may fall back to the CPU), held to the fixtures. */

import { Engine } from "../worker/engine.js";
import { answer, cardOf } from "../worker/python.js";
import { TIGHT, circumstances, files } from "./circumstances.js";

const FOLDER = "parity/";
const NOISE = `${FOLDER}noise/`;

/** @param {string} phase */
const tell = (phase) => self.postMessage({ phase });

self.onmessage = async ({ data: { backend, cases, limits } }) => {
  const begin = performance.now();
  let engine = null;
  try {
    const wish = backend === "gpu" ? "auto" : backend;
    engine = new Engine((news) => news.type === "loading" && tell(news.phase), wish, true, () => undefined);
    if (limits === "tight") engine.limits = TIGHT;
    await engine.start();
    tell("Comparing");
    const missing = backend === "gpu" && engine.backend.kind !== "webgpu";
    const verdict = missing ? nothing("not run", engine.backend.explanation) : await compare(engine, cases === "short");
    self.postMessage({ verdict: { ...verdict, ...circumstances(engine, begin) } });
  } catch (error) {
    const { title, found, detail } = cardOf(error);
    const failed = { ...nothing("failed", `${title} ${found}`), detail };
    self.postMessage({ verdict: engine ? { ...failed, ...circumstances(engine, begin) } : failed });
  }
};

/** A verdict without cases. @param {string} status @param {string} reason */
function nothing(status, reason) {
  return { lane: "browser", status, reason, backend: "", cases: [] };
}

/** @param {Engine} engine @param {boolean} short */
async function compare(engine, short) {
  const paths = engine.assets.under(FOLDER);
  if (!paths.length) return nothing("not run", "this build has no fixtures");
  const fixtures = await files(engine, paths.filter((path) => !path.startsWith(NOISE)));
  const verdict = await judged(engine, "built-in", fixtures, short);
  if (short) return verdict;
  // One model at a time: the sessions of one are enough for a small device.
  await engine.use(await engine.openModel("noise", await files(engine, paths.filter((path) => path.startsWith(NOISE)))), false);
  const noise = await judged(engine, "noise", fixtures, short);
  const all = [verdict, noise];
  const worst = ["failed", "not run", "passed"].find((status) => all.some((each) => each.status === status));
  return { ...verdict, status: worst, reason: all.map((each) => each.reason).filter(Boolean).join("; "), cases: all.flatMap((each) => each.cases) };
}

/** @param {Engine} engine @param {string} model @param {Record<string, Uint8Array>} fixtures @param {boolean} short */
async function judged(engine, model, fixtures, short) {
  return JSON.parse(await answer(engine.python.run_gate(engine.backend.kind, fixtures, [[model, engine.model, engine.runtime]], short)));
}
