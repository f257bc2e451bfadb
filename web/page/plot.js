/** Update ratio and PSNR of every frame, under the timeline. A click seeks. */

import uPlot from "uplot";
import { htmlById, setText } from "./elements.js";
import { decibels, percent, whole } from "./format.js";

/** @typedef {import("./track.js").Track} Track */

const PAUSE = 250; // ms between drawings
const HEIGHT = 152; // pixels

export class Plot {
  /** @type {uPlot | null} */
  #plot = null;
  /** @type {Track | null} */
  #track = null;
  #total = 0;
  #position = -1;
  #hover = -1;
  #drawn = ""; // what the last drawing showed
  #last = 0; // ms
  #timer = 0;
  #box = htmlById("plot");
  #playhead = document.createElement("div");

  /** @param {(index: number) => void} seek */
  constructor(seek) {
    this.seek = seek;
    this.#playhead.className = "playhead";
    new ResizeObserver(() => this.#resize()).observe(this.#box);
  }

  /** Draw with the colours of another theme. */
  recolour() {
    this.#plot?.destroy();
    this.#plot = null;
    this.#drawn = "";
    this.#schedule();
  }

  /**
   * @param {Track | null} track
   * @param {number} total frames of the video, as far as known
   * @param {number} position
   */
  update(track, total, position) {
    this.#track = track;
    this.#total = Math.max(total, track?.count ?? 0);
    if (position !== this.#position) {
      this.#position = position;
      this.#place();
    }
    this.#tell();
    if (this.#state() !== this.#drawn) this.#schedule();
  }

  #state() {
    return `${this.#track?.version ?? -1} ${this.#track?.count ?? 0} ${this.#total} ${this.#box.clientWidth}`;
  }

  #schedule() {
    this.#timer ||= window.setTimeout(
      () => {
        this.#timer = 0;
        this.#draw();
      },
      Math.max(0, PAUSE - (performance.now() - this.#last)),
    );
  }

  #draw() {
    const width = this.#box.clientWidth;
    if (width === 0) return;
    this.#last = performance.now();
    this.#drawn = this.#state();
    this.#plot ??= this.#make(width);
    const data = this.#track ? thinned(this.#track, width) : [[], [], []];
    this.#plot.setData(/** @type {uPlot.AlignedData} */ (data), true);
    this.#place();
  }

  /** @param {number} width */
  #make(width) {
    const style = getComputedStyle(this.#box);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), font: "11px system-ui", ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
    const plot = new uPlot(
      {
        width,
        height: HEIGHT,
        padding: [8, 0, 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, y: false, points: { show: false } },
        scales: {
          x: { time: false, range: () => [0, Math.max(this.#total - 1, 1)] },
          ratio: { range: [0, 1] },
          psnr: { range: (_, least, most) => (least === null ? [0, 50] : [Math.floor(least - 1), Math.ceil(most + 1)]) },
        },
        axes: [
          { ...axis, size: 22, gap: 4, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? whole(tick + 1) : "")) },
          { ...axis, scale: "ratio", size: 46, gap: 4, values: (_, ticks) => ticks.map((tick) => `${Math.round(tick * 100)} %`) },
          { ...axis, scale: "psnr", side: 1, size: 46, gap: 4, grid: { show: false }, values: (_, ticks) => ticks.map((tick) => `${tick} dB`) },
        ],
        series: [
          {},
          { scale: "ratio", stroke: colour("--series-update"), width: 1.5, points: { show: false } },
          { scale: "psnr", stroke: colour("--series-psnr"), width: 1.5, dash: [5, 3], points: { show: false } },
        ],
        hooks: { setCursor: [(own) => this.#hovered(own)] },
      },
      /** @type {uPlot.AlignedData} */ ([[], [], []]),
      this.#box,
    );
    plot.over.append(this.#playhead);
    plot.over.addEventListener("click", () => {
      const index = this.#frameUnder(plot);
      if (index >= 0) this.seek(index);
    });
    return plot;
  }

  #resize() {
    if (this.#plot && this.#box.clientWidth > 0) this.#plot.setSize({ width: this.#box.clientWidth, height: HEIGHT });
    this.#schedule();
  }

  #place() {
    const plot = this.#plot;
    this.#playhead.hidden = !plot || this.#position < 0;
    if (plot && this.#position >= 0) this.#playhead.style.transform = `translateX(${plot.valToPos(this.#position, "x")}px)`;
  }

  /** @param {uPlot} plot */
  #frameUnder(plot) {
    const left = plot.cursor.left ?? -1;
    const count = this.#track?.count ?? 0;
    return left < 0 || !count ? -1 : Math.min(Math.max(Math.round(plot.posToVal(left, "x")), 0), count - 1);
  }

  /** @param {uPlot} plot */
  #hovered(plot) {
    this.#hover = this.#frameUnder(plot);
    this.#tell();
  }

  /** The numbers under the pointer, else those of the frame that is shown. */
  #tell() {
    const track = this.#track;
    const index = this.#hover >= 0 ? this.#hover : this.#position;
    const there = track !== null && index >= 0 && index < track.count;
    setText(htmlById("plot-frame"), there ? `Frame ${whole(index + 1)}` : "");
    setText(htmlById("plot-update"), percent(there ? track.columns.update[index] : null));
    setText(htmlById("plot-psnr"), decibels(there ? track.columns.psnr[index] : null));
  }
}

/**
 * At most two points a pixel column, the least and the most of it, so that no peak is lost; a number that is not finite leaves a gap.
 * @param {Track} track
 * @param {number} width pixels
 * @returns {[number[], (number | null)[], (number | null)[]]} frames, update ratio, PSNR
 */
export function thinned(track, width) {
  const { count } = track;
  const each = Math.max(1, Math.ceil(count / Math.max(width, 1))); // frames of a column
  /** @type {number[]} */
  const frames = [];
  /** @type {(number | null)[]} */
  const update = [];
  /** @type {(number | null)[]} */
  const psnr = [];
  for (let from = 0; from < count; from += each) {
    const to = Math.min(from + each, count);
    const ratios = extremes(track.columns.update, from, to);
    const noises = extremes(track.columns.psnr, from, to);
    for (let point = 0; point < (each === 1 ? 1 : 2); point++) {
      frames.push(from + (point * (to - from - 1)) / 2);
      update.push(ratios[point] ?? null);
      psnr.push(noises[point] ?? null);
    }
  }
  return [frames, update, psnr];
}

/**
 * @param {Float64Array} values
 * @param {number} from
 * @param {number} to
 * @returns {[number, number] | []} least and most, in the order of their frames
 */
function extremes(values, from, to) {
  let least = -1;
  let most = -1;
  for (let index = from; index < to; index++) {
    const value = /** @type {number} */ (values[index]);
    if (!Number.isFinite(value)) continue;
    if (least < 0 || value < /** @type {number} */ (values[least])) least = index;
    if (most < 0 || value > /** @type {number} */ (values[most])) most = index;
  }
  if (least < 0) return [];
  const pair = least < most ? [least, most] : [most, least];
  return [/** @type {number} */ (values[/** @type {number} */ (pair[0])]), /** @type {number} */ (values[/** @type {number} */ (pair[1])])];
}
