/** Zoom and pan, the same in every panel: the place is kept in shares of the picture, so it holds at every size of a panel. */

import { buttonById, htmlById, setText } from "./elements.js";

const MOST = 64;
const STEP = 1.4; // of a key press
const WHEEL = 0.0016; // of a pixel of the wheel, as an exponent
const SCROLLING = 250; // ms after which a person who scrolled the page means the panel
const CRISP = 2; // pixels of the screen a pixel of the video, from which on pixels are drawn as squares

export class Zoom {
  #scale = 1;
  #x = 0.5; // of the picture, in the middle of the panel
  #y = 0.5;
  #stage = htmlById("stage");
  #scrolled = -SCROLLING; // ms, when the page last moved
  /** @type {Map<number, {x: number, y: number}>} */
  #pointers = new Map();

  constructor() {
    for (const viewport of this.#stage.querySelectorAll(".viewport")) if (viewport instanceof HTMLElement) this.#listen(viewport);
    buttonById("zoom-in").addEventListener("click", () => this.by(STEP));
    buttonById("zoom-out").addEventListener("click", () => this.by(1 / STEP));
    buttonById("zoom-reset").addEventListener("click", () => this.reset());
    new ResizeObserver(() => this.#apply()).observe(this.#stage);
    addEventListener("scroll", () => (this.#scrolled = performance.now()), { passive: true });
    this.#apply();
  }

  in() {
    this.by(STEP);
  }

  out() {
    this.by(1 / STEP);
  }

  reset() {
    this.#scale = 1;
    this.#apply();
  }

  /**
   * @param {number} factor
   * @param {{x: number, y: number}} [about] in shares of the panel, from its middle: what stays where it is
   */
  by(factor, about = { x: 0, y: 0 }) {
    const scale = Math.min(Math.max(this.#scale * factor, 1), MOST);
    this.#x += about.x / this.#scale - about.x / scale;
    this.#y += about.y / this.#scale - about.y / scale;
    this.#scale = scale;
    this.#apply();
  }

  /**
   * Move the picture by shares of the panel.
   * @param {number} x
   * @param {number} y
   */
  pan(x, y) {
    this.#x -= x / this.#scale;
    this.#y -= y / this.#scale;
    this.#apply();
  }

  #apply() {
    const margin = 0.5 / this.#scale;
    this.#x = Math.min(Math.max(this.#x, margin), 1 - margin);
    this.#y = Math.min(Math.max(this.#y, margin), 1 - margin);
    const { style } = this.#stage;
    style.setProperty("--zoom", String(this.#scale));
    style.setProperty("--shift-x", `${(0.5 - this.#x) * this.#scale * 100}%`);
    style.setProperty("--shift-y", `${(0.5 - this.#y) * this.#scale * 100}%`);
    this.#stage.toggleAttribute("data-zoomed", this.#scale > 1);
    this.#stage.toggleAttribute("data-crisp", this.#enlarged() >= CRISP);
    const percent = `${Math.round(this.#scale * 100)} %`;
    setText(buttonById("zoom-reset"), percent);
    buttonById("zoom-reset").setAttribute("aria-label", `${percent}, reset zoom`);
  }

  /** Pixels of the screen a pixel of the video. */
  #enlarged() {
    const picture = [...this.#stage.querySelectorAll(".picture")].find((element) => element.clientWidth > 0);
    const video = Number(this.#stage.style.getPropertyValue("--video-width")) || Infinity;
    return ((picture?.clientWidth ?? 0) * this.#scale * devicePixelRatio) / video;
  }

  /** @param {HTMLElement} viewport */
  #listen(viewport) {
    const place = (/** @type {{clientX: number, clientY: number}} */ { clientX, clientY }) => {
      const { left, top, width, height } = viewport.getBoundingClientRect();
      return { x: (clientX - left) / width - 0.5, y: (clientY - top) / height - 0.5 };
    };
    viewport.addEventListener("dblclick", () => this.reset());
    viewport.addEventListener(
      "wheel",
      (event) => {
        if (this.#scale === 1 && event.deltaY >= 0) return; // nothing to zoom out of: the page scrolls
        if (performance.now() - this.#scrolled < SCROLLING) return; // the page came by under the pointer
        event.preventDefault();
        const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1);
        this.by(Math.exp(-pixels * WHEEL * (event.ctrlKey ? 6 : 1)), place(event)); // ctrl: a pinch on a touchpad
      },
      { passive: false },
    );
    viewport.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.#pointers.set(event.pointerId, place(event));
      viewport.setPointerCapture(event.pointerId);
    });
    viewport.addEventListener("pointermove", (event) => this.#move(event.pointerId, place(event)));
    for (const end of /** @type {const} */ (["pointerup", "pointercancel", "lostpointercapture"])) {
      viewport.addEventListener(end, (event) => this.#pointers.delete(event.pointerId));
    }
  }

  /**
   * One pointer pans, two pinch.
   * @param {number} pointer
   * @param {{x: number, y: number}} to
   */
  #move(pointer, to) {
    const from = this.#pointers.get(pointer);
    if (!from) return;
    const other = [...this.#pointers].find(([id]) => id !== pointer)?.[1];
    this.#pointers.set(pointer, to);
    if (!other) return this.pan(to.x - from.x, to.y - from.y);
    const apart = (/** @type {{x: number, y: number}} */ { x, y }) => Math.max(Math.hypot(x - other.x, y - other.y), 0.01);
    this.by(apart(to) / apart(from), { x: (to.x + other.x) / 2, y: (to.y + other.y) / 2 });
    this.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
  }
}
