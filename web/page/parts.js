/** What of the page is there: the invitation, or the video with its downloads. */

import { buttonById, htmlById } from "./elements.js";

/** @typedef {import("./run.js").Run} Run */

/**
 * @param {Run} run
 * @param {boolean} ready the worker is
 * @returns {boolean} there is a video to show
 */
export function showParts(run, ready) {
  const shows = run.phase !== "idle" && (run.active || run.frames > 0);
  document.body.dataset["phase"] = run.phase;
  document.body.toggleAttribute("data-ready", ready);
  htmlById("empty").hidden = shows;
  htmlById("viewer").hidden = !shows;
  htmlById("downloads").hidden = !shows;
  buttonById("open-button").hidden = !shows;
  document.title = shows && run.file ? `${run.file.name} – AutoGaze` : "AutoGaze in the browser";
  return shows;
}
