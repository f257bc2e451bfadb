/** One line that says what is being done, how far it is and how long it takes; a person can stop it. */

import { buttonById, byId, htmlById, setText } from "./elements.js";
import { bytes, count, duration, perSecond, whole } from "./format.js";

/** @typedef {import("./run.js").Run} Run */
/** @typedef {{phase: string, done: number, total: number, bytesPerSecond: number, cached: boolean}} Loading */
/** @typedef {{what: string, details: string[], share: number | null, busy: boolean, stop: boolean}} Line share: 0 … 1; null: not known */

const bar = byId("progress", HTMLProgressElement);

/**
 * @param {Run} run
 * @param {Loading | null} loading null: the worker is ready
 */
export function showProgress(run, loading) {
  const line = lineOf(run, loading);
  htmlById("activity").hidden = !line;
  if (!line) return null;
  setText(htmlById("activity-what"), line.what);
  setText(htmlById("activity-details"), line.details.filter(Boolean).join(" · "));
  bar.toggleAttribute("data-idle", !line.busy);
  if (line.share === null) bar.removeAttribute("value");
  else bar.value = line.share;
  buttonById("cancel").hidden = !line.stop;
  return line;
}

/**
 * @param {Run} run
 * @param {Loading | null} loading
 * @returns {Line | null}
 */
function lineOf(run, loading) {
  const name = run.file?.name ?? "";
  if (loading && run.phase !== "gazing") return loadingLine(loading, run.phase === "waiting" ? name : "");
  if (run.repainting && run.phase !== "gazing") {
    const { done, total } = run.repainting;
    return { what: "Painting again", details: [frames(done, total)], share: done / total, busy: true, stop: true };
  }
  switch (run.phase) {
    case "waiting":
    case "opening":
      return { what: `Opening ${name}`, details: [], share: null, busy: true, stop: true };
    case "gazing":
      return gazingLine(run);
    case "done":
      return { what: "Done", details: doneDetails(run), share: 1, busy: false, stop: false };
    case "cancelled":
      return { what: `Cancelled after ${count(run.frames, "frame")}`, details: [], share: null, busy: false, stop: false };
    default:
      return null;
  }
}

/**
 * @param {Loading} loading
 * @param {string} waiting the video that waits for it
 * @returns {Line}
 */
function loadingLine({ phase, done, total, bytesPerSecond, cached }, waiting) {
  const details = [
    total ? `${bytes(done)} of ${bytes(total)}` : done ? bytes(done) : "",
    cached ? "from cache" : bytesPerSecond ? `${bytes(bytesPerSecond)}/s` : "",
    waiting ? `${waiting} starts right after` : "",
  ];
  return { what: `Loading: ${phase}`, details, share: total ? done / total : null, busy: true, stop: Boolean(waiting) };
}

/**
 * @param {Run} run
 * @returns {Line}
 */
function gazingLine(run) {
  const { total } = run;
  const left = total && run.rate ? Math.max(total.frames - run.frames, 0) / run.rate : null;
  const details = [
    frames(run.frames, total?.frames ?? null, total?.exact),
    run.rate ? `${perSecond(run.rate)} fps` : "",
    left === null ? "" : `${duration(left)} left`,
    run.repainting ? "painting again" : "",
  ];
  return { what: "Gazing", details, share: total ? Math.min(run.frames / total.frames, 1) : null, busy: true, stop: true };
}

/** @param {Run} run */
function doneDetails({ took }) {
  if (!took) return [];
  const rate = took.seconds > 0 ? `${perSecond(took.frames / took.seconds)} fps` : "";
  return [`${count(took.frames, "frame")} in ${took.seconds < 60 ? `${took.seconds.toFixed(1)} s` : duration(took.seconds)}`, rate];
}

/**
 * @param {number} done
 * @param {number | null} total
 * @param {boolean} [exact]
 */
function frames(done, total, exact = true) {
  return total ? `frame ${whole(done)} of ${exact ? "" : "about "}${whole(total)}` : `frame ${whole(done)}`;
}
