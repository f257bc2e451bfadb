/** The numbers of the frame that is shown, and how fast it all goes. */

import { htmlById, make, setText } from "./elements.js";
import { decibels, percent, perSecond, whole } from "./format.js";
import { swatch } from "./panels.js";

/** @typedef {import("../shared/messages.js").ModelInfo} ModelInfo */
/** @typedef {import("./track.js").Track} Track */

const RECENT = 16; // frames that the rate of gazing is told of

export class Numbers {
  /** @type {{bar: HTMLElement, count: HTMLElement}[]} by scale */
  #scales = [];

  /** @param {ModelInfo["scales"]} scales */
  setScales(scales) {
    const rows = scales.map(({ name, colour }) => {
      const bar = make("span");
      bar.style.backgroundColor = /^#[0-9a-f]{6}$/i.test(colour) ? colour : "gray";
      const count = make("span", { class: "count" }, "–");
      return { bar, count, entry: make("li", {}, swatch(colour), make("span", { class: "scale" }, name), count) };
    });
    htmlById("tokens-bar").replaceChildren(...rows.map(({ bar }) => bar));
    htmlById("tokens-by-scale").replaceChildren(...rows.map(({ entry }) => entry));
    this.#scales = rows;
  }

  /**
   * @param {Track | null} track
   * @param {number} index of the frame that is shown; −1: none
   * @param {number | null} displayed pictures a second
   */
  update(track, index, displayed) {
    const there = track !== null && index >= 0 && index < track.count;
    const value = (/** @type {keyof Track["columns"]} */ name) => (there ? track.columns[name][index] : null);
    setText(htmlById("update-ratio"), percent(value("update")));
    setText(htmlById("update-ratio-ema"), percent(value("updateEma")));
    setText(htmlById("mask-ratio"), percent(value("mask")));
    setText(htmlById("mask-ratio-ema"), percent(value("maskEma")));
    setText(htmlById("psnr"), decibels(value("psnr")));
    setText(htmlById("psnr-ema"), decibels(value("psnrEma")));
    setText(htmlById("gaze-fps"), perSecond(track?.gazeRate(RECENT) ?? null));
    setText(htmlById("display-fps"), perSecond(displayed));
    htmlById("keyframe").hidden = !(there && track.keyframes[index]);
    this.#showTokens(there ? track.tokensAt(index) : null);
  }

  /** @param {number[] | null} tokens by scale */
  #showTokens(tokens) {
    const total = tokens?.reduce((sum, count) => sum + count, 0) ?? 0;
    setText(htmlById("tokens"), tokens ? whole(total) : "–");
    this.#scales.forEach(({ bar, count }, scale) => {
      const here = tokens?.[scale] ?? 0;
      bar.style.flexGrow = String(here);
      setText(count, tokens ? whole(here) : "–");
    });
  }
}
