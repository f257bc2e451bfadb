/** A worker that runs the media modules for test_media.py: each message names a function below and its arguments. */

import { liveFrames, openVideo } from "../web/worker/video.js";
import { gifs, png, sideBySide } from "../web/worker/media_exports.js";

/** @param {Uint8Array} bytes */
async function digest(bytes) {
  const hash = await crypto.subtle.digest("SHA-256", bytes);
  return [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} url @param {string} name */
async function opened(url, name) {
  return openVideo(await (await fetch(url)).blob(), name);
}

/** @param {any} frame */
async function described({ planes, release, ...rest }, raw = false) {
  const bytes = new Uint8Array(planes.reduce((/** @type {number} */ sum, /** @type {any} */ { data }) => sum + data.length, 0));
  let offset = 0;
  for (const { data } of planes) {
    bytes.set(data, offset);
    offset += data.length;
  }
  release();
  const shapes = planes.map((/** @type {any} */ { rows, stride }) => [rows, stride]);
  return { ...rest, shapes, ...(raw ? { bytes: [...bytes] } : { sha256: await digest(bytes) }) };
}

/** Coloured panels whose pixels are known: moving in one, flat in another, partly transparent in the third. */
async function* panels({ frames = 5, width = 40, height = 24, fps = 10, transparent = false }) {
  for (let index = 0; index < frames; index++) {
    const make = (/** @type {(x: number, y: number) => number[]} */ colour) => {
      const pixels = new Uint8ClampedArray(4 * width * height);
      for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels.set(colour(x, y), 4 * (y * width + x));
      return pixels;
    };
    yield {
      index,
      time: index / fps,
      duration: 1 / fps,
      width,
      height,
      panels: {
        input: make((x, y) => [(x * 6 + 20 * index) & 255, (y * 10) & 255, (x + y) & 255, 255]),
        mask: make((x) => (x < width / 2 ? [255, 180, 0, 255] : transparent ? [9, 9, 9, 0] : [10, 20, 200, 255])),
        output: make((x, y) => ((x >> 3) + (y >> 3) + index) % 2 ? [200, 30, 60, 255] : [0, 90, 40, 255]),
      },
    };
  }
}

/** @param {Blob} blob */
async function base64(blob) {
  let text = "";
  for (const byte of new Uint8Array(await blob.arrayBuffer())) text += String.fromCharCode(byte);
  return btoa(text);
}

const CALLS = {
  async info(/** @type {any} */ { url, name }) {
    const video = await opened(url, name);
    video.close();
    return { info: video.info, live: liveFrames() };
  },

  /** Every frame of a clip, what was warned of, and whether anything was left open. */
  async decode(/** @type {any} */ { url, name, from = 0, raw = false, slow = 0 }) {
    const video = await opened(url, name);
    const stream = video.frames(from);
    const frames = [];
    let most = 0;
    for (let frame = await stream.next(); frame; frame = await stream.next()) {
      most = Math.max(most, liveFrames());
      if (slow) await new Promise((resolve) => setTimeout(resolve, slow));
      frames.push(await described(frame, raw));
    }
    const { info, warnings } = video;
    video.close();
    return { info, warnings, frames, most, live: liveFrames() };
  },

  /** Frames asked for in some order, each from a stream of its own. */
  async seek(/** @type {any} */ { url, indices }) {
    const video = await opened(url, "clip");
    const found = [];
    for (const index of indices) {
      const stream = video.frames(index);
      const frame = await stream.next();
      found.push(frame && (await described(frame)));
      await stream.close();
    }
    video.close();
    return { found, live: liveFrames() };
  },

  /** Streams cut short in every way. */
  async abandon(/** @type {any} */ { url, times }) {
    for (let i = 0; i < times; i++) {
      const video = await opened(url, "clip");
      const control = new AbortController();
      const stream = video.frames(0, control.signal);
      for (let k = 0; k < i % 5; k++) (await stream.next())?.release();
      const pending = stream.next();
      if (i % 3 === 0) control.abort();
      else if (i % 3 === 1) await stream.close();
      else video.close();
      const last = await pending;
      last?.release();
      if ((await stream.next()) !== null) throw new Error("a closed stream gave a frame");
      video.close();
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
    return liveFrames();
  },

  /** Two streams of one video, read in turns. */
  async together(/** @type {any} */ { url }) {
    const video = await opened(url, "clip");
    const gazing = video.frames(0);
    const found = [];
    for (let i = 0; i < 8; i++) {
      const ahead = await gazing.next();
      found.push(ahead && (await described(ahead)));
      const replay = video.frames(i >> 1);
      const again = await replay.next();
      found.push(again && (await described(again)));
      await replay.close();
    }
    video.close();
    return { found, live: liveFrames() };
  },

  /** Frames a second, without and with copying. */
  async speed(/** @type {any} */ { url, frames = 120 }) {
    const video = await opened(url, "clip");
    const stream = video.frames(0);
    const start = performance.now();
    let count = 0;
    let most = 0;
    for (let frame = await stream.next(); frame && count < frames; frame = await stream.next()) {
      most = Math.max(most, liveFrames());
      count++;
      frame.release();
    }
    const seconds = (performance.now() - start) / 1000;
    const { info } = video;
    video.close();
    return { info, fps: count / seconds, most, live: liveFrames() };
  },

  /** A file whose contents are given. */
  async bytes(/** @type {any} */ { contents, name }) {
    const video = await openVideo(new Blob([new Uint8Array(contents)]), name);
    video.close();
    return video.info;
  },

  async withoutWebCodecs(/** @type {any} */ { contents, name }) {
    const kept = globalThis.VideoDecoder;
    Reflect.deleteProperty(globalThis, "VideoDecoder");
    try {
      await openVideo(new Blob([new Uint8Array(contents)]), name);
    } finally {
      globalThis.VideoDecoder = kept;
    }
  },

  async unreadable() {
    const blob = new Blob(["0123456789abcdef"]);
    const gone = () => Promise.reject(new DOMException("The requested file could not be read", "NotReadableError"));
    Object.defineProperty(blob, "arrayBuffer", { value: gone });
    Object.defineProperty(blob, "slice", { value: () => ({ arrayBuffer: gone, stream: () => new ReadableStream({ pull: gone }) }) });
    Object.defineProperty(blob, "stream", { value: () => new ReadableStream({ pull: gone }) });
    await openVideo(blob, "moved.mp4");
  },

  async gifs(/** @type {any} */ { source, ...options }) {
    const done = /** @type {number[]} */ ([]);
    const products = await gifs(panels(source), { ...options, onProgress: (count) => done.push(count) });
    return { done, input: await base64(products.input), mask: await base64(products.mask), output: await base64(products.output) };
  },

  async sideBySide(/** @type {any} */ { source, ...options }) {
    const done = /** @type {number[]} */ ([]);
    const { blob, extension, codec } = await sideBySide(panels(source), { ...options, onProgress: (count) => done.push(count) });
    return { done, extension, codec, type: blob.type, data: await base64(blob), live: liveFrames() };
  },

  async png(/** @type {any} */ { pixels, width, height }) {
    return base64(await png(new Uint8ClampedArray(pixels), width, height));
  },

  /** Nobody asks how far it is. */
  async unwatched() {
    return [(await gifs(panels({ frames: 2 }), {})).mask.size, (await sideBySide(panels({ frames: 2 }))).blob.size];
  },

  /** Downloads stopped in the middle. */
  async stopped(/** @type {any} */ { kind, after }) {
    const control = new AbortController();
    const make = kind === "gif" ? gifs : sideBySide;
    const onProgress = (/** @type {number} */ done) => void (done === after && control.abort());
    await make(panels({ frames: 20 }), { onProgress, signal: control.signal });
  },
};

self.addEventListener("message", async ({ data: { call, args, id } }) => {
  try {
    self.postMessage({ id, value: await CALLS[/** @type {keyof typeof CALLS} */ (call)](args) });
  } catch (error) {
    const { name, message, card, stack } = /** @type {any} */ (error);
    self.postMessage({ id, error: { name, message, card, stack } });
  }
});
