/** What can be saved of a job: its numbers as text, its panels as pictures, moving or not. */

import { answer } from "./python.js";

/** @typedef {import("./job.js").Job} Job */
/** @typedef {import("../shared/messages.js").Panel} Panel */
/** @typedef {{blob: Blob, name: string}} Saved */

const PANELS = /** @type {const} */ (["input", "mask", "output"]);
const GIF_WIDTH = 480; // pixels, as the command line's

/** Where a download is: `report` with frames done and in all, `signal` to give it up. @typedef {{report: (done: number, total: number) => void, signal: AbortSignal}} Watch */

/**
 * Make a file, or one file a panel.
 * @param {Job} job
 * @param {{kind: import("../shared/messages.js").ExportKind, panel?: Panel, index?: number, width?: number}} wish
 * @param {Watch} watch
 * @returns {Promise<Saved[]>}
 */
export async function save(job, wish, watch) {
  const stem = job.name.replace(/\.[^.]*$/, "") || "video";
  switch (wish.kind) {
    case "metrics":
      return [{ blob: json(await answer(job.take.metrics(JSON.stringify(closing(job))))), name: `${stem}.metrics.json` }];
    case "trace": {
      const [before, after] = await answer(job.take.trace_ends());
      return [{ blob: new Blob([before, job.trace.blob(), after], { type: "application/json" }), name: `${stem}.trace.json` }];
    }
    case "csv":
      return [{ blob: new Blob([await answer(job.take.csv())], { type: "text/csv" }), name: `${stem}.frames.csv` }];
    case "png":
      return [await picture(job, stem, wish.panel ?? "output", wish.index ?? 0)];
    default:
      return moving(job, stem, wish, watch);
  }
}

/** @param {string} text */
function json(text) {
  return new Blob([text], { type: "application/json" });
}

/** What metrics.json says beside the numbers. @param {Job} job */
function closing(job) {
  const seconds = JSON.parse(job.take.state()).seconds;
  const timing = Object.fromEntries(Object.entries(seconds).map(([stage, spent]) => [`${stage}_s`, Math.round(spent * 1e4) / 1e4]));
  return { output_files: [], warnings: job.warnings, timing: { ...timing, total_s: Math.round(job.seconds * 1e4) / 1e4 } };
}

/** @param {Job} job @param {string} stem @param {Panel} panel @param {number} index @returns {Promise<Saved>} */
async function picture(job, stem, panel, index) {
  const { png } = await import("./media_exports.js");
  const { width, height, panels } = await job.pixels(index);
  const pixels = panels[PANELS.indexOf(panel)];
  return { blob: await png(clamped(pixels), width, height), name: `${stem}.${panel}.${index}.png` };
}

/** @param {Job} job @param {string} stem @param {{kind: string, panel?: Panel, width?: number}} wish @param {Watch} watch @returns {Promise<Saved[]>} */
async function moving(job, stem, wish, watch) {
  const { gifs, sideBySide } = await import("./media_exports.js");
  const total = job.take.done;
  const fps = job.video?.info.fps ?? 25;
  const options = { fps, onProgress: (/** @type {number} */ done) => watch.report(done, total), signal: watch.signal };
  if (wish.kind === "video") {
    const { blob, extension } = await sideBySide(replay(job, total, fps), options);
    return [{ blob, name: `${stem}.autogaze.${extension}` }];
  }
  const panels = PANELS.filter((panel) => !wish.panel || panel === wish.panel);
  const made = await gifs(replay(job, total, fps), { ...options, width: wish.width ?? GIF_WIDTH, panels });
  return panels.map((panel) => ({ blob: made[panel], name: `${stem}.${panel}.gif` }));
}

/**
 * Every frame that is done, painted again. A frame is shown until the next one comes.
 * @param {Job} job @param {number} total @param {number} fps
 */
async function* replay(job, total, fps) {
  for (let index = 0; index < total; index++) {
    const { time, width, height, panels } = await job.pixels(index);
    const [input, mask, output] = panels.map(clamped);
    yield { index, time, duration: 1 / fps, width, height, panels: { input, mask, output } };
  }
}

/** @param {Uint8Array} bytes */
function clamped(bytes) {
  return new Uint8ClampedArray(/** @type {ArrayBuffer} */ (bytes.buffer), bytes.byteOffset, bytes.byteLength);
}
