/** The three canvases. The worker draws them; here they get their shape, their names and their legend. */

import { byId, htmlById, make, setText } from "./elements.js";

/** @typedef {import("../shared/messages.js").Panel} Panel */
/** @typedef {import("../shared/messages.js").ModelInfo} ModelInfo */

/** @type {readonly Panel[]} */
export const PANELS = ["input", "mask", "output"];
export const TITLES = { input: "Input", mask: "Mask", output: "Output" };

const stage = htmlById("stage");

/**
 * New canvases in the place of the old: one can be handed to a worker only once.
 * @returns {Record<Panel, OffscreenCanvas>}
 */
export function freshCanvases() {
  const canvases = PANELS.map((panel) => {
    const canvas = make("canvas", { id: `canvas-${panel}`, width: 16, height: 9, role: "img", "aria-label": TITLES[panel] });
    htmlById(`picture-${panel}`).replaceChildren(canvas);
    return [panel, canvas.transferControlToOffscreen()];
  });
  return Object.fromEntries(canvases);
}

/**
 * The shape of the panels; pictures of an earlier run are hidden until the first of this one is there.
 * @param {{width: number, height: number} | null} size
 */
export function shapePanels(size) {
  const { width, height } = size && size.width > 0 && size.height > 0 ? size : { width: 16, height: 9 };
  stage.style.setProperty("--aspect", String(width / height));
  stage.style.setProperty("--video-width", String(width));
}

/** @param {boolean} there */
export function showPictures(there) {
  stage.toggleAttribute("data-empty", !there);
}

/**
 * Say which frame is on the canvases.
 * @param {number} index
 */
export function namePictures(index) {
  for (const panel of PANELS) {
    byId(`canvas-${panel}`, HTMLCanvasElement).setAttribute("aria-label", index < 0 ? TITLES[panel] : `${TITLES[panel]}, frame ${index + 1}`);
  }
}

/**
 * The colour of each scale.
 * @param {ModelInfo["scales"]} scales
 */
export function showLegend(scales) {
  const entries = scales.map(({ name, colour }) => make("li", {}, swatch(colour), make("span", {}, name)));
  htmlById("legend").replaceChildren(...entries);
}

/**
 * A small square of a colour; drawn through CSSOM, which the content security policy allows.
 * @param {string} colour
 */
export function swatch(colour) {
  const square = make("span", { class: "swatch", "aria-hidden": "true" });
  if (/^#[0-9a-f]{6}$/i.test(colour)) square.style.backgroundColor = colour;
  return square;
}

/**
 * The line above the panels: what is being looked at.
 * @param {import("../shared/messages.js").VideoInfo | null} video
 * @param {string} name
 * @param {{count: number, columns: number, rows: number, batch: number}} tiles
 */
export function describeVideo(video, name, tiles) {
  setText(htmlById("video-name"), name);
  const facts = video
    ? [
        `${video.width} × ${video.height}`,
        `${Number(video.fps.toFixed(2))} fps`,
        video.codec.toUpperCase(),
        tiles.count > 1 ? `${tiles.count} tiles, ${tiles.columns} × ${tiles.rows}` : "",
        tiles.batch < tiles.count ? `${tiles.batch} at a time` : "",
      ]
    : [];
  setText(htmlById("video-facts"), facts.filter(Boolean).join(" · "));
}
