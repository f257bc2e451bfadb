/// <reference path="./media_gifenc.d.ts" />
/** Animated GIFs of the three panels, as the command line's: a palette a frame, delays that add up, played for ever. */

import { GIFEncoder, quantize } from "gifenc";
import { ExportFault } from "./faults.js";
import { Fitter } from "./media_scale.js";

/** @typedef {import("../shared/messages.js").Panel} Panel */
/** @typedef {import("./media_exports.js").PaintedFrames} PaintedFrames */
/** @typedef {{indices: Uint8Array, palette: number[][]}} Reduced */

const PANELS = /** @type {const} */ (["input", "mask", "output"]);
const WIDTH = 480; // pixels
const MAX_SIDE = 65535; // 16-bit sizes in the format
const MIN_DELAY = 2; // hundredths of a second: viewers play anything shorter at 10 frames per second
const MAX_DELAY = 65535;
const TRANSPARENT = 255; // palette index kept free for transparency
const OPAQUE = 128; // pixels with less alpha become transparent

/**
 * @param {PaintedFrames} frames all of the first one's size, or scaled to it
 * @param {object} [options]
 * @param {number} [options.width] pixels at most; narrower panels stay as they are
 * @param {number} [options.fps] frames of the same length; without it each frame lasts as long as it says
 * @param {readonly Panel[]} [options.panels] which ones; the others come as empty blobs
 * @param {(done: number) => void} [options.onProgress] called with the number of frames done
 * @param {AbortSignal} [options.signal]
 * @returns {Promise<Record<Panel, Blob>>}
 * @throws {ExportFault | DOMException} nothing to save, a size beyond the format; an AbortError
 */
export async function gifs(frames, { width = WIDTH, fps, panels = PANELS, onProgress, signal } = {}) {
  const clock = new Clock();
  /** @type {{writer: GifWriter, panel: Panel}[]} */
  let films = [];
  let done = 0;
  for await (const frame of frames) {
    signal?.throwIfAborted();
    if (!done) films = panels.map((panel) => ({ writer: new GifWriter(fitted(frame, width)), panel }));
    const delay = clock.tick(fps ? 1 / fps : frame.duration);
    if (delay) for (const { writer, panel } of films) writer.add(frame.panels[panel], frame, delay);
    done++;
    onProgress?.(done);
  }
  signal?.throwIfAborted();
  if (!done) throw noFrames();
  const blobs = { input: new Blob(), mask: new Blob(), output: new Blob() };
  for (const { writer, panel } of films) blobs[panel] = writer.finish();
  return blobs;
}

export function noFrames() {
  return new ExportFault({
    kind: "export",
    title: "There is nothing to save yet.",
    found: "No frame has been painted.",
    attempt: "Wait for the first frame, then save again.",
  });
}

/**
 * @param {{width: number, height: number}} frame
 * @param {number} width
 */
function fitted(frame, width) {
  if (width >= frame.width) width = frame.width;
  const height = Math.max(1, Math.round((frame.height * width) / frame.width));
  if (Math.max(width, height) <= MAX_SIDE) return { width, height };
  throw new ExportFault({
    kind: "export",
    title: "This GIF would be too large.",
    found: `A GIF cannot be ${width}×${height} pixels: its sides go from 1 to ${MAX_SIDE}.`,
    attempt: "Choose a smaller width.",
  });
}

/** Whole hundredths of a second for frames of any length, without drifting from real time. */
class Clock {
  _due = 0; // hundredths of a second that the frames so far should last
  _told = 0; // ... and do last

  /**
   * The delay of the next frame; 0 where it is left out, because the format cannot show it for so short a time.
   * @param {number} seconds
   */
  tick(seconds) {
    this._due += 100 * seconds;
    let delay = Math.min(Math.round(this._due - this._told), MAX_DELAY);
    if (delay < MIN_DELAY) {
      if (this._told) return 0; // this frame's time goes to the next one
      delay = MIN_DELAY;
    }
    this._told += delay;
    return delay;
  }
}

/** One GIF under construction; what is written goes to blobs at once. */
class GifWriter {
  /** @param {{width: number, height: number}} size */
  constructor(size) {
    this._size = size;
    this._fitter = new Fitter();
    this._encoder = GIFEncoder({ auto: false });
    this._encoder.writeHeader();
    /** @type {Blob[]} */
    this._parts = [];
  }

  /**
   * @param {Uint8ClampedArray<ArrayBuffer>} pixels
   * @param {{width: number, height: number}} from
   * @param {number} delay hundredths of a second
   */
  add(pixels, from, delay) {
    const { width, height } = this._size;
    const picture = this._fitter.fit(pixels, from, this._size);
    const transparent = hasHoles(picture);
    const { indices, palette } = reduce(picture, width, transparent);
    this._encoder.writeFrame(indices, width, height, {
      palette,
      delay: 10 * delay, // gifenc takes milliseconds
      transparent,
      transparentIndex: transparent ? TRANSPARENT : 0,
      dispose: transparent ? 2 : 1, // 2 clears the canvas for the next frame, else it would show through
      repeat: 0, // for ever
      first: !this._parts.length,
    });
    this._flush();
  }

  finish() {
    this._encoder.finish();
    this._flush();
    return new Blob(this._parts, { type: "image/gif" });
  }

  _flush() {
    this._parts.push(new Blob([this._encoder.bytes()]));
    this._encoder.reset();
  }
}

/** @param {Uint8ClampedArray} pixels */
function hasHoles(pixels) {
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i] < OPAQUE) return true;
  return false;
}

/**
 * Palette indices of a picture: exact where its colours fit the palette, else the closest, dithered.
 * @param {Uint8ClampedArray<ArrayBuffer>} pixels
 * @param {number} width
 * @param {boolean} transparent
 * @returns {Reduced}
 */
function reduce(pixels, width, transparent) {
  const colours = transparent ? TRANSPARENT : 256;
  const { indices, palette } = exact(pixels, colours) ?? dithered(pixels, width, colours);
  if (!transparent) return { indices, palette };
  while (palette.length < 256) palette.push([0, 0, 0]);
  for (let i = 0; i < indices.length; i++) if (pixels[4 * i + 3] < OPAQUE) indices[i] = TRANSPARENT;
  return { indices, palette };
}

/**
 * @param {Uint8ClampedArray} pixels
 * @param {number} colours
 * @returns {Reduced | null} null where there are more colours; hidden pixels count for none
 */
function exact(pixels, colours) {
  const known = new Map();
  const indices = new Uint8Array(pixels.length / 4);
  for (let i = 0, pixel = 0; i < pixels.length; i += 4, pixel++) {
    if (pixels[i + 3] < OPAQUE) continue;
    const colour = (pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2];
    let index = known.get(colour);
    if (index === undefined) {
      if (known.size === colours) return null;
      known.set(colour, (index = known.size));
    }
    indices[pixel] = index;
  }
  const palette = [...known.keys()].map((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]);
  return { indices, palette: palette.length ? palette : [[0, 0, 0]] };
}

/**
 * Floyd and Steinberg's error diffusion.
 * @param {Uint8ClampedArray<ArrayBuffer>} pixels
 * @param {number} width
 * @param {number} colours
 * @returns {Reduced}
 */
function dithered(pixels, width, colours) {
  // A copy, as gifenc clears alpha in place. With more bits (rgb565) it takes seconds a frame; its colours are averages in any case.
  const palette = quantize(pixels.slice(), colours, { format: "rgb444" });
  const nearest = new Int16Array(1 << 15).fill(-1); // by five bits a channel
  const indices = new Uint8Array(pixels.length / 4);
  let errors = new Float32Array(3 * (width + 2)); // of this row, from one pixel left of it to one right
  let below = new Float32Array(3 * (width + 2));
  const wanted = new Float32Array(3);
  for (let pixel = 0; pixel < indices.length; ) {
    for (let x = 0, e = 3; x < width; x++, e += 3, pixel++) {
      for (let c = 0; c < 3; c++) wanted[c] = Math.min(255, Math.max(0, pixels[4 * pixel + c] + errors[e + c]));
      const key = ((wanted[0] >> 3) << 10) | ((wanted[1] >> 3) << 5) | (wanted[2] >> 3);
      if (nearest[key] < 0) nearest[key] = closest(palette, wanted[0], wanted[1], wanted[2]);
      const index = (indices[pixel] = nearest[key]);
      for (let c = 0; c < 3; c++) {
        const error = (wanted[c] - palette[index][c]) / 16;
        errors[e + 3 + c] += 7 * error;
        below[e - 3 + c] += 3 * error;
        below[e + c] += 5 * error;
        below[e + 3 + c] += error;
      }
    }
    [errors, below] = [below, errors.fill(0)];
  }
  return { indices, palette };
}

/** @param {number[][]} palette @param {number} r @param {number} g @param {number} b */
function closest(palette, r, g, b) {
  let best = 0;
  let least = Infinity;
  for (let i = 0; i < palette.length; i++) {
    const distance = (palette[i][0] - r) ** 2 + (palette[i][1] - g) ** 2 + (palette[i][2] - b) ** 2;
    if (distance < least) [least, best] = [distance, i];
  }
  return best;
}
