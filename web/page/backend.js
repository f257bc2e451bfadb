/** Where the graphs run, and why there. */

import { htmlById, setText } from "./elements.js";

/** @typedef {import("../shared/messages.js").Backend} Backend */

/** @param {Backend | null} backend null: not known yet */
export function showBackend(backend) {
  const badge = htmlById("backend");
  badge.hidden = !backend;
  badge.dataset["kind"] = backend?.kind ?? "";
  setText(htmlById("backend-name"), backend?.name ?? "");
  const reason = htmlById("backend-reason");
  reason.hidden = !backend?.explanation;
  reason.dataset["reason"] = backend?.reason ?? "";
  setText(htmlById("backend-explanation"), backend?.explanation ?? "");
}
