/** Pictures and films of what was painted, made from replayed frames; memory does not grow with their number. */

export { gifs } from "./media_gif.js";
export { png } from "./media_png.js";
export { sideBySide } from "./media_film.js";

/** @typedef {import("../shared/messages.js").Panel} Panel */
/** @typedef {Uint8ClampedArray<ArrayBuffer>} Pixels RGBA, [height, width, 4]; straight alpha */

/**
 * A painted frame. Its pixels are read before the next frame is asked for.
 * @typedef {object} PaintedFrame
 * @property {number} index
 * @property {number} time seconds
 * @property {number} duration seconds
 * @property {number} width
 * @property {number} height
 * @property {Record<Panel, Pixels>} panels
 */

/** @typedef {AsyncIterable<PaintedFrame>} PaintedFrames */
