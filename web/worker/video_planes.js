/** Copy the pixels of a VideoFrame into memory of ours: its own planes where they are 8-bit YUV, else RGBA made by the browser. */

/** @typedef {"I420" | "I422" | "I444" | "NV12" | "RGBA"} PlaneFormat */
/** @typedef {{data: Uint8Array<ArrayBuffer>, rows: number, stride: number}} Plane tightly packed: stride is the bytes of a row */
/** @typedef {{key: string, format: PlaneFormat, buffer: Uint8Array<ArrayBuffer>, planes: Plane[]}} PlaneSet */

/** Columns and rows of each plane after the first, as divisors; samples a column has. @type {Record<string, [number, number, number][]>} */
const CHROMA = {
  I420: [[2, 2, 1], [2, 2, 1]],
  I422: [[2, 1, 1], [2, 1, 1]],
  I444: [[1, 1, 1], [1, 1, 1]],
  NV12: [[2, 2, 2]],
};
const MAX_IDLE = 6; // sets of planes kept for the next frames

/** Sets of planes that are used again: in steady state nothing is allocated. */
export class PlanePool {
  constructor() {
    /** @type {PlaneSet[]} */
    this._idle = [];
  }

  /**
   * @param {PlaneFormat} format
   * @param {number} width
   * @param {number} height
   * @returns {PlaneSet}
   */
  take(format, width, height) {
    const key = `${format} ${width}×${height}`;
    const position = this._idle.findIndex((set) => set.key === key);
    return position < 0 ? makePlanes(key, format, width, height) : this._idle.splice(position, 1)[0];
  }

  /** @param {PlaneSet} set */
  give(set) {
    this._idle.push(set);
    if (this._idle.length > MAX_IDLE) this._idle.shift();
  }

  clear() {
    this._idle.length = 0;
  }
}

/**
 * @param {string} key
 * @param {PlaneFormat} format
 * @param {number} width
 * @param {number} height
 * @returns {PlaneSet}
 */
function makePlanes(key, format, width, height) {
  const shapes = format === "RGBA" ? [[4 * width, height]] : [[width, height]];
  for (const [across, down, samples] of CHROMA[format] ?? []) shapes.push([Math.ceil(width / across) * samples, Math.ceil(height / down)]);
  const buffer = new Uint8Array(shapes.reduce((bytes, [stride, rows]) => bytes + stride * rows, 0));
  let offset = 0;
  const planes = shapes.map(([stride, rows]) => {
    const data = buffer.subarray(offset, (offset += stride * rows));
    return { data, rows, stride };
  });
  return { key, format, buffer, planes };
}

/**
 * The format in which a frame is copied, and whether the browser converts it for that.
 * @param {VideoFrame} frame
 * @returns {PlaneFormat}
 */
export function copiedFormat(frame) {
  return frame.format !== null && frame.format in CHROMA ? /** @type {PlaneFormat} */ (frame.format) : "RGBA";
}

/**
 * Copy the visible pixels of a frame, transparent ones composited over black.
 * @param {VideoFrame} frame
 * @param {PlanePool} pool
 * @param {PlaneFormat} [format]
 * @returns {Promise<PlaneSet>}
 */
export async function copyPlanes(frame, pool, format = copiedFormat(frame)) {
  const { width, height } = visibleSize(frame);
  const set = pool.take(format, width, height);
  const layout = set.planes.map(({ data, stride }) => ({ offset: data.byteOffset, stride }));
  if (format !== "RGBA") {
    await frame.copyTo(set.buffer, { layout });
    return set;
  }
  try {
    await frame.copyTo(set.buffer, { layout, format: "RGBA", colorSpace: "srgb" });
  } catch {
    drawInto(set.buffer, frame, width, height);
  }
  if (frame.format === null || !/^(I4|NV|RGBX|BGRX)[^A]*$/.test(frame.format)) overBlack(set.buffer);
  return set;
}

/**
 * Browsers that cannot copy a format as RGBA can still draw it.
 * @param {Uint8Array} target
 * @param {VideoFrame} frame
 * @param {number} width
 * @param {number} height
 */
function drawInto(target, frame, width, height) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("no 2D canvas");
  context.drawImage(frame, 0, 0, width, height);
  target.set(context.getImageData(0, 0, width, height).data);
}

/**
 * Composite straight alpha over black in place, rounding to nearest, as the command line does.
 * @param {Uint8Array} rgba
 * @param {Uint8Array | null} [alpha] one byte a pixel; without it the picture's own
 */
export function overBlack(rgba, alpha = null) {
  for (let i = 0, pixel = 0; i < rgba.length; i += 4, pixel++) {
    const a = alpha ? alpha[pixel] : rgba[i + 3];
    rgba[i + 3] = 255;
    if (a === 255) continue;
    for (let c = i; c < i + 3; c++) rgba[c] = Math.floor((rgba[c] * a + 127) / 255);
  }
}

/** @param {VideoFrame} frame */
export function visibleSize(frame) {
  const { width, height } = frame.visibleRect ?? { width: frame.codedWidth, height: frame.codedHeight };
  return { width, height };
}
