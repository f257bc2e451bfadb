/** Which model looks: the built-in one, or one that a person brings; and what the browser keeps of it. */

import { buttonById, byId, htmlById, make, setText } from "./elements.js";
import { bytes } from "./format.js";
import { recall, remember } from "./memory.js";

/** @typedef {import("../shared/messages.js").ModelInfo} ModelInfo */
/** @typedef {import("./worker_link.js").WorkerLink} WorkerLink */

const dialog = byId("model-dialog", HTMLDialogElement);
const licence = byId("licence", HTMLDialogElement);

/** @param {ModelInfo} model */
export function showModel(model) {
  setText(htmlById("model-name"), model.builtIn ? "Built-in model" : model.name);
  setText(htmlById("model-full-name"), model.name);
  setText(htmlById("model-kind"), model.builtIn ? "built in, ours, Apache-2.0" : "brought by you");
  setText(htmlById("model-sha"), model.sha256.slice(0, 12));
  setText(htmlById("model-size"), bytes(model.bytes));
  setText(htmlById("model-scales"), model.scales.map(({ name }) => name).join(", "));
  buttonById("use-built-in").disabled = model.builtIn;
}

/**
 * Show the licence of NVIDIA's weights, once.
 * @returns {Promise<boolean>} the person goes on
 */
export function licenceAccepted() {
  if (recall("licence") === "seen") return Promise.resolve(true);
  if (licence.open) return Promise.resolve(false); // asked already
  return new Promise((resolve) => {
    licence.addEventListener(
      "close",
      () => {
        const accepted = licence.returnValue === "accept";
        if (accepted) remember("licence", "seen");
        resolve(accepted);
      },
      { once: true },
    );
    licence.returnValue = "";
    dialog.close();
    licence.showModal();
  });
}

/**
 * The dialog: opening it asks what is kept.
 * @param {() => WorkerLink | null} link
 * @param {() => void} useBuiltIn
 * @param {(error: unknown) => void} failed
 */
export function watchModelDialog(link, useBuiltIn, failed) {
  const ask = (/** @type {boolean} */ clear) => {
    setText(htmlById("cache-note"), clear ? "Clearing…" : "Looking…");
    link()
      ?.ask({ type: "cache", clear })
      .answer.then((news) => news.type === "cache" && showCache(news.entries), failed);
  };
  buttonById("model-button").addEventListener("click", () => {
    dialog.showModal();
    ask(false);
  });
  buttonById("clear-cache").addEventListener("click", () => ask(true));
  buttonById("use-built-in").addEventListener("click", () => {
    dialog.close();
    useBuiltIn();
  });
}

/** The dialog has done its work. */
export function closeModelDialog() {
  dialog.close();
}

/** @param {{name: string, bytes: number}[]} entries */
function showCache(entries) {
  const rows = entries.map((entry) => make("tr", {}, make("td", {}, entry.name), make("td", { class: "number" }, bytes(entry.bytes))));
  htmlById("cache-entries").replaceChildren(...rows);
  const total = entries.reduce((sum, entry) => sum + entry.bytes, 0);
  setText(htmlById("cache-note"), entries.length ? `${bytes(total)} in this browser's cache, so that the next visit starts faster.` : "Nothing is kept.");
  htmlById("cache-table").hidden = !entries.length;
  buttonById("clear-cache").disabled = !entries.length;
}
