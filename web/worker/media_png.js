/**
 * PNG files of exactly the pixels given, transparent ones included.
 *
 * A canvas would do for opaque pictures only: it keeps colours premultiplied by alpha, so those of transparent pixels are lost.
 */

const SIGNATURE = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const UP = 2; // filter: differences from the row above
const RGB = 2;
const RGBA = 6;

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

/**
 * @param {Uint8ClampedArray} pixels RGBA [height, width, 4], straight alpha
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Blob>} without an alpha channel where every pixel is opaque
 */
export async function png(pixels, width, height) {
  if (pixels.length !== 4 * width * height || !pixels.length) {
    throw new RangeError(`expected ${4 * width * height} bytes of RGBA for ${width}×${height} pixels, got ${pixels.length}`);
  }
  const channels = isOpaque(pixels) ? 3 : 4;
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits a channel
  header.setUint8(9, channels === 3 ? RGB : RGBA);
  const rows = filtered(pixels, width, height, channels);
  const packed = await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer();
  const chunks = [chunk("IHDR", new Uint8Array(header.buffer)), chunk("IDAT", new Uint8Array(packed)), chunk("IEND", new Uint8Array(0))];
  return new Blob([SIGNATURE, ...chunks], { type: "image/png" });
}

/** @param {Uint8ClampedArray} pixels */
function isOpaque(pixels) {
  for (let i = 3; i < pixels.length; i += 4) if (pixels[i] !== 255) return false;
  return true;
}

/**
 * @param {Uint8ClampedArray} pixels
 * @param {number} width
 * @param {number} height
 * @param {3 | 4} channels
 */
function filtered(pixels, width, height, channels) {
  const rows = new Uint8Array(height * (1 + channels * width));
  const stride = 4 * width;
  let target = 0;
  for (let y = 0; y < height; y++) {
    rows[target++] = UP;
    for (let i = y * stride; i < (y + 1) * stride; i += 4) {
      for (let c = i; c < i + channels; c++) rows[target++] = pixels[c] - (y ? pixels[c - stride] : 0);
    }
  }
  return rows;
}

/**
 * @param {string} type
 * @param {Uint8Array} data
 */
function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (let i = 4; i < 8 + data.length; i++) crc = CRC[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  view.setUint32(8 + data.length, ~crc >>> 0);
  return bytes;
}
