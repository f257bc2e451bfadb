/** What of the three panels is seen: all, one, input and output split, or their difference. */

import { buttonById, byId, htmlById } from "./elements.js";

/** @typedef {"all" | "input" | "mask" | "output" | "split" | "difference"} View */

/** @type {readonly View[]} */
export const VIEWS = ["all", "input", "mask", "output", "split", "difference"];
const STEP = 2; // percent a key press moves the divider
const GAINS = ["1", "4", "16"];

export class Views {
  /** @type {View} */
  current = "all";
  #split = 50; // percent of the width that shows the input
  #stage = htmlById("stage");
  #divider = htmlById("divider");

  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    for (const view of VIEWS) buttonById(`view-${view}`).addEventListener("click", () => this.show(view));
    const gain = byId("gain", HTMLSelectElement);
    gain.addEventListener("change", () => this.#stage.setAttribute("data-gain", GAINS.includes(gain.value) ? gain.value : "1"));
    this.#divider.addEventListener("keydown", (event) => this.#key(event));
    this.#divider.addEventListener("pointerdown", (event) => this.#grab(event));
    this.#divider.addEventListener("pointermove", (event) => this.#drag(event));
    this.show("all");
    this.#place(50);
  }

  /** @param {View} view */
  show(view) {
    this.current = view;
    this.#stage.setAttribute("data-view", view);
    for (const other of VIEWS) buttonById(`view-${other}`).setAttribute("aria-pressed", String(other === view));
    this.#divider.hidden = view !== "split";
    htmlById("gain-field").hidden = view !== "difference";
    this.changed();
  }

  /**
   * Show a view; all three again where it is shown already.
   * @param {View} view
   */
  toggle(view) {
    this.show(this.current === view ? "all" : view);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const far = event.shiftKey ? 5 * STEP : STEP;
    const to = {
      ArrowLeft: this.#split - far,
      ArrowDown: this.#split - far,
      ArrowRight: this.#split + far,
      ArrowUp: this.#split + far,
      PageDown: this.#split - 5 * STEP,
      PageUp: this.#split + 5 * STEP,
      Home: 0,
      End: 100,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // the same keys step through the frames
    this.#place(to);
  }

  /** @param {PointerEvent} event */
  #grab(event) {
    if (event.button !== 0) return;
    event.stopPropagation(); // no panning
    this.#divider.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    if (!this.#divider.hasPointerCapture(event.pointerId)) return;
    const { left, width } = htmlById("viewport-input").getBoundingClientRect();
    this.#place(((event.clientX - left) / width) * 100);
  }

  /** @param {number} percent */
  #place(percent) {
    this.#split = Math.round(Math.min(Math.max(percent, 0), 100));
    this.#stage.style.setProperty("--split", `${this.#split}%`);
    this.#divider.setAttribute("aria-valuenow", String(this.#split));
    this.#divider.setAttribute("aria-valuetext", `input ${this.#split} %, output ${100 - this.#split} %`);
  }
}
