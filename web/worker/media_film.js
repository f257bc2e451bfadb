/** A film of the three panels side by side, at the times of the video's own frames. */

import { Mp4OutputFormat, Output, QUALITY_HIGH, StreamTarget, VideoSample, VideoSampleSource, WebMOutputFormat, canEncodeVideo } from "mediabunny";
import { ExportFault } from "./faults.js";
import { BlobSink } from "./media_blob.js";
import { COLOUR, i420Bytes, toI420 } from "./media_i420.js";
import { noFrames } from "./media_gif.js";
import { Fitter } from "./media_scale.js";

/** @typedef {import("./media_exports.js").PaintedFrame} PaintedFrame */
/** @typedef {import("./media_exports.js").PaintedFrames} PaintedFrames */
/** @typedef {{panel: {width: number, height: number}, width: number, height: number}} Layout in pixels */
/** @typedef {{codec: "vp9" | "vp8" | "avc", extension: "webm" | "mp4", type: string}} Kind */

const PANELS = /** @type {const} */ (["input", "mask", "output"]);
const GAP = 2; // pixels
const MAX_WIDTH = 1920;
const MAX_HEIGHT = 2160;
const KEY_FRAME_S = 2;

/** What players everywhere take, the smallest first. @type {Kind[]} */
const KINDS = [
  { codec: "vp9", extension: "webm", type: "video/webm" },
  { codec: "vp8", extension: "webm", type: "video/webm" },
  { codec: "avc", extension: "mp4", type: "video/mp4" },
];

/**
 * @param {PaintedFrames} frames all of the first one's size, or scaled to it
 * @param {object} [options]
 * @param {number} [options.fps] for the length of frames that do not say theirs
 * @param {(done: number) => void} [options.onProgress] called with the number of frames done
 * @param {AbortSignal} [options.signal]
 * @returns {Promise<{blob: Blob, extension: "webm" | "mp4", codec: string}>}
 * @throws {ExportFault | DOMException} nothing to save, a browser that encodes no video; an AbortError
 */
export async function sideBySide(frames, { fps = 25, onProgress, signal } = {}) {
  /** @type {Film | null} */
  let film = null;
  let done = 0;
  try {
    for await (const frame of frames) {
      signal?.throwIfAborted();
      film ??= await Film.begun(layoutOf(frame));
      await film.add(frame, frame.duration || 1 / fps);
      done++;
      onProgress?.(done);
    }
    signal?.throwIfAborted();
    if (!film) throw noFrames();
    return await film.finish();
  } catch (error) {
    await film?.cancel();
    throw error;
  }
}

/**
 * Even sizes, as encoders want them: an odd one gets a black column or row.
 * @param {{width: number, height: number}} frame
 * @returns {Layout}
 */
function layoutOf({ width, height }) {
  const scale = Math.min(1, Math.floor((MAX_WIDTH - 2 * GAP) / 3) / width, MAX_HEIGHT / height);
  const panel = { width: Math.max(1, Math.floor(width * scale)), height: Math.max(1, Math.round(height * scale)) };
  return { panel, width: even(3 * panel.width + 2 * GAP), height: even(panel.height) };
}

/** @param {number} size */
function even(size) {
  return size + (size % 2);
}

/** A film under construction. */
class Film {
  /**
   * @param {Layout} layout
   * @param {Kind} kind
   */
  constructor(layout, kind) {
    this._layout = layout;
    this._kind = kind;
    this._sink = new BlobSink();
    this._canvas = new Uint8ClampedArray(4 * layout.width * layout.height);
    this._planes = new Uint8Array(i420Bytes(layout.width, layout.height));
    this._fitter = new Fitter();
    this._source = new VideoSampleSource({ codec: kind.codec, quality: QUALITY_HIGH, keyFrameInterval: KEY_FRAME_S });
    this._output = new Output({
      format: kind.extension === "webm" ? new WebMOutputFormat() : new Mp4OutputFormat({ fastStart: false }),
      target: new StreamTarget(this._sink.writable, { chunked: true, chunkSize: 1 << 20 }),
    });
    this._output.addVideoTrack(this._source);
    this._origin = NaN; // seconds
  }

  /** @param {Layout} layout */
  static async begun(layout) {
    const { width, height } = layout;
    for (const kind of KINDS) {
      if (!(await canEncodeVideo(kind.codec, { width, height, quality: QUALITY_HIGH }))) continue;
      const film = new Film(layout, kind);
      await film._output.start();
      return film;
    }
    throw new ExportFault({
      kind: "export",
      title: "This browser cannot make videos.",
      found: `It encodes neither VP9, VP8 nor H.264 at ${width}×${height} pixels.`,
      attempt: "Save GIFs instead, or use another browser.",
    });
  }

  /**
   * @param {PaintedFrame} frame
   * @param {number} duration seconds
   */
  async add(frame, duration) {
    PANELS.forEach((panel, place) => this._paste(this._fitter.fit(frame.panels[panel], frame, this._layout.panel), place));
    if (Number.isNaN(this._origin)) this._origin = frame.time;
    const { width, height } = this._layout;
    toI420(this._canvas, width, height, this._planes);
    const shape = /** @type {const} */ ({ format: "I420", codedWidth: width, codedHeight: height, colorSpace: COLOUR });
    const sample = new VideoSample(this._planes, { ...shape, timestamp: frame.time - this._origin, duration });
    try {
      await this._source.add(sample); // waits while the encoder is behind
    } finally {
      sample.close();
    }
  }

  /**
   * Put a panel in its place, over black.
   * @param {Uint8ClampedArray} pixels
   * @param {number} place 0, 1 or 2 from the left
   */
  _paste(pixels, place) {
    const { panel, width } = this._layout;
    const left = place * (panel.width + GAP);
    for (let y = 0, source = 0; y < panel.height; y++) {
      for (let target = 4 * (y * width + left), end = target + 4 * panel.width; target < end; target += 4, source += 4) {
        const alpha = pixels[source + 3] / 255;
        this._canvas[target] = pixels[source] * alpha;
        this._canvas[target + 1] = pixels[source + 1] * alpha;
        this._canvas[target + 2] = pixels[source + 2] * alpha;
      }
    }
  }

  async finish() {
    await this._output.finalize();
    const { extension, codec, type } = this._kind;
    return { blob: this._sink.blob(type), extension, codec: codec === "avc" ? "h264" : codec };
  }

  async cancel() {
    await this._output.cancel().catch(() => {}); // after finalize there is nothing left to cancel
  }
}
