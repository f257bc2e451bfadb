/** Results as files: one at a time, with progress, and it can be stopped. */

import { buttonById, byId, htmlById, setText } from "./elements.js";
import { count } from "./format.js";
import { safeName } from "./filename.js";

/** @typedef {import("./worker_link.js").WorkerLink} WorkerLink */
/** @typedef {import("../shared/messages.js").ExportKind} ExportKind */
/** @typedef {import("../shared/messages.js").Panel} Panel */
/** @typedef {{run: number, index: number}} Place the frame that is shown */

const KEEP = 60_000; // ms that a file's bytes are kept for a browser that asks where to put it

export class Downloads {
  /** @type {number | null} of the file that is being made */
  #request = null;
  #stopped = false;

  /**
   * @param {() => WorkerLink | null} link
   * @param {() => Place} place
   * @param {(error: unknown) => void} failed
   */
  constructor(link, place, failed) {
    this.link = link;
    this.place = place;
    this.failed = failed;
    for (const button of this.#buttons()) button.addEventListener("click", () => void this.#make(button));
    buttonById("stop-download").addEventListener("click", () => this.stop());
  }

  /**
   * @param {boolean} ready results are there
   * @param {string} why not
   */
  update(ready, why) {
    for (const button of this.#buttons()) button.disabled = !ready || this.#request !== null;
    setText(htmlById("downloads-note"), ready ? "" : why);
    htmlById("downloads-note").hidden = ready;
  }

  /** Stop the file that is being made. */
  stop() {
    if (this.#request === null) return;
    this.#stopped = true;
    this.link()?.post({ type: "stop-export", request: this.#request });
  }

  /**
   * Hand a file to the browser. One request may bring several, a file a panel; the later ones come as news.
   * @param {{blob: Blob, name: string}} file
   */
  save({ blob, name }) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = safeName(name);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), KEEP);
  }

  /** @returns {HTMLButtonElement[]} */
  #buttons() {
    return [...htmlById("downloads").querySelectorAll("button")].filter((button) => button.hasAttribute("data-kind"));
  }

  /** @param {HTMLButtonElement} button */
  async #make(button) {
    const link = this.link();
    if (!link || this.#request !== null) return;
    const kind = /** @type {ExportKind} */ (button.dataset["kind"]);
    const panel = /** @type {Panel | undefined} */ (button.dataset["panel"]);
    const { run, index } = this.place();
    const sized = kind === "gif" ? { width: Number(byId("download-width", HTMLSelectElement).value) } : {}; // at most
    const order = { type: /** @type {const} */ ("export"), run, kind, ...(panel ? { panel } : {}), ...(kind === "png" ? { index } : {}), ...sized };
    const what = button.getAttribute("aria-label") ?? button.textContent ?? "";
    try {
      const { request, answer } = link.ask(order, (done, total) => this.#progress(what, done, total));
      this.#request = request;
      this.#stopped = false;
      this.#progress(what, 0, 0);
      const news = await answer;
      if (news.type === "exported") this.save(news);
    } catch (error) {
      if (!this.#stopped) this.failed(error); // a person who stops it knows
    } finally {
      this.#request = null;
      htmlById("download-progress").hidden = true;
      this.update(true, "");
    }
  }

  /**
   * @param {string} what
   * @param {number} done
   * @param {number} total 0: not known
   */
  #progress(what, done, total) {
    htmlById("download-progress").hidden = false;
    this.update(true, "");
    setText(htmlById("download-what"), total ? `${what}: ${done} of ${count(total, "frame")}` : `${what}…`);
    const bar = byId("download-bar", HTMLProgressElement);
    if (total) bar.value = done / total;
    else bar.removeAttribute("value");
  }
}

