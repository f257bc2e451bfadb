/** RGB to the YUV that every player understands: BT.709, limited range, 8 bits, chroma at half the size. */

/** @type {VideoColorSpaceInit} */
export const COLOUR = { primaries: "bt709", transfer: "bt709", matrix: "bt709", fullRange: false };

const SHIFT = 16; // fixed point
const ONE = 1 << SHIFT;
const [KR, KG, KB] = [0.2126, 0.7152, 0.0722];
const LUMA = [KR, KG, KB].map((share) => Math.round((share * 219 * ONE) / 255));
const BLUE = [-KR, -KG, 1 - KB].map((share) => Math.round((share * 224 * ONE) / (2 * (1 - KB)) / 255));
const RED = [1 - KR, -KG, -KB].map((share) => Math.round((share * 224 * ONE) / (2 * (1 - KR)) / 255));

/** @param {number} width even @param {number} height even */
export function i420Bytes(width, height) {
  return (width * height * 3) / 2;
}

/**
 * @param {Uint8ClampedArray} rgba [height, width, 4]; alpha is ignored
 * @param {number} width even
 * @param {number} height even
 * @param {Uint8Array} planes Y, U and V one after the other, to be filled
 */
export function toI420(rgba, width, height, planes) {
  const half = ONE / 2;
  const u = width * height;
  const v = u + u / 4;
  for (let i = 0, pixel = 0; pixel < u; i += 4, pixel++) {
    planes[pixel] = 16 + ((LUMA[0] * rgba[i] + LUMA[1] * rgba[i + 1] + LUMA[2] * rgba[i + 2] + half) >> SHIFT);
  }
  const below = 4 * width;
  for (let y = 0, chroma = 0; y < height; y += 2) {
    for (let i = y * below, end = i + below; i < end; i += 8, chroma++) {
      const r = (rgba[i] + rgba[i + 4] + rgba[i + below] + rgba[i + below + 4]) / 4;
      const g = (rgba[i + 1] + rgba[i + 5] + rgba[i + below + 1] + rgba[i + below + 5]) / 4;
      const b = (rgba[i + 2] + rgba[i + 6] + rgba[i + below + 2] + rgba[i + below + 6]) / 4;
      planes[u + chroma] = 128 + ((BLUE[0] * r + BLUE[1] * g + BLUE[2] * b + half) >> SHIFT);
      planes[v + chroma] = 128 + ((RED[0] * r + RED[1] * g + RED[2] * b + half) >> SHIFT);
    }
  }
}
