/** Update ratio and PSNR of every frame, under the timeline. A click seeks. */

import uPlot from "uplot";
import { htmlById, setText } from "./elements.js";
import { decibels, percent, whole } from "./format.js";

/** @typedef {import("./track.js").Track} Track */

const PAUSE = 250; // ms between drawings
const HEIGHT = 152; // pixels
/** @type {(number | null)[][]} frames, then mean, least and most of two numbers */
const NOTHING = [[], [], [], [], [], [], []];

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
    const data = this.#track ? thinned(this.#track, width) : NOTHING;
    this.#plot.setData(/** @type {uPlot.AlignedData} */ (data), true);
    this.#place();
  }

  /** @param {number} width */
  #make(width) {
    const style = getComputedStyle(this.#box);
    const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--muted"), font: "11px system-ui", ticks: { show: false }, grid: { stroke: colour("--line"), width: 1 } };
    const line = { width: 1.5, points: { show: false } };
    const edge = { width: 0, stroke: "transparent", points: { show: false } }; // of a band
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
          { scale: "ratio", stroke: colour("--series-update"), ...line },
          { scale: "ratio", ...edge },
          { scale: "ratio", ...edge },
          { scale: "psnr", stroke: colour("--series-psnr"), ...line, dash: [5, 3] },
          { scale: "psnr", ...edge },
          { scale: "psnr", ...edge },
        ],
        bands: [
          { series: [3, 2], fill: `${colour("--series-update")}33` },
          { series: [6, 5], fill: `${colour("--series-psnr")}33` },
        ],
        hooks: { setCursor: [(own) => this.#hovered(own)] },
      },
      /** @type {uPlot.AlignedData} */ (NOTHING),
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
 * One point a pixel column: mean, least and most of its frames, so that the line stays readable and no peak is lost. Numbers that are not
 * finite leave a gap.
 * @param {Track} track
 * @param {number} width pixels
 * @returns {(number | null)[][]} frames, then mean, least and most of the update ratio and of the PSNR
 */
export function thinned(track, width) {
  const { count, columns } = track;
  const each = Math.max(1, Math.ceil(count / Math.max(width, 1))); // frames of a column
  /** @type {(number | null)[][]} */
  const data = [[], [], [], [], [], [], []];
  for (let from = 0; from < count; from += each) {
    const to = Math.min(from + each, count);
    const point = [(from + to - 1) / 2, ...spread(columns.update, from, to), ...spread(columns.psnr, from, to)];
    point.forEach((value, row) => data[row]?.push(value));
  }
  return data;
}

/**
 * @param {Float64Array} values
 * @param {number} from
 * @param {number} to
 * @returns {[number, number, number] | [null, null, null]} mean, least, most of those that are finite
 */
function spread(values, from, to) {
  let [count, sum, least, most] = [0, 0, Infinity, -Infinity];
  for (let index = from; index < to; index++) {
    const value = /** @type {number} */ (values[index]);
    if (!Number.isFinite(value)) continue;
    count++;
    sum += value;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return count ? [sum / count, least, most] : [null, null, null];
}
