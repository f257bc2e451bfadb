/** WebM and MKV files that were cut off in mid-cluster: mediabunny gives up such a cluster whole, though most of its frames are there. */

const EBML = 0x1a45dfa3;
const SEGMENT = 0x18538067;
const CLUSTER = 0x1f43b675;
const MAX_CLUSTER = 256 << 20; // bytes

/** @typedef {{id: number, size: number, header: number}} Element size: bytes after the header; NaN where it is open-ended */

/**
 * The same file with its last cluster ending at its last whole frame, or the file itself where nothing is cut off.
 * @param {Blob} blob
 * @returns {Promise<Blob>}
 */
export async function mended(blob) {
  const first = await elementAt(blob, 0);
  if (first?.id !== EBML) return blob;
  let place = first.header + first.size;
  const segment = await elementAt(blob, place);
  if (segment?.id !== SEGMENT || !(place + segment.header + segment.size > blob.size)) return blob;
  place += segment.header;
  for (;;) {
    const element = await elementAt(blob, place);
    if (!element || Number.isNaN(element.size)) return blob;
    const end = place + element.header + element.size;
    if (end > blob.size) return element.id === CLUSTER ? shortened(blob, place, element) : blob;
    place = end;
  }
}

/**
 * @param {Blob} blob
 * @param {number} place
 * @param {Element} cluster
 */
async function shortened(blob, place, cluster) {
  const start = place + cluster.header;
  if (blob.size - start > MAX_CLUSTER) return blob;
  const contents = new DataView(await blob.slice(start).arrayBuffer());
  let kept = 0;
  for (;;) {
    const element = parsed(contents, kept);
    if (!element || !(kept + element.header + element.size <= contents.byteLength)) break;
    kept += element.header + element.size;
  }
  const header = new DataView(new ArrayBuffer(12));
  header.setUint32(0, CLUSTER);
  header.setBigUint64(4, (1n << 56n) | BigInt(kept)); // a size of eight bytes
  return new Blob([blob.slice(0, place), header, blob.slice(start, start + kept)]);
}

/**
 * @param {Blob} blob
 * @param {number} place
 */
async function elementAt(blob, place) {
  return parsed(new DataView(await blob.slice(place, place + 12).arrayBuffer()), 0);
}

/**
 * @param {DataView} view
 * @param {number} place
 * @returns {Element | null} null where there is none
 */
function parsed(view, place) {
  if (place >= view.byteLength) return null;
  const width = Math.clz32(view.getUint8(place)) - 23; // leading zeros of a byte tell how long the number is
  if (width > 4 || place + width >= view.byteLength) return null;
  let id = 0;
  for (let i = 0; i < width; i++) id = id * 256 + view.getUint8(place + i);
  const length = Math.clz32(view.getUint8(place + width)) - 23;
  if (length > 8 || place + width + length > view.byteLength) return null;
  let size = view.getUint8(place + width) & (0xff >> length);
  let isOpen = size === 0xff >> length;
  for (let i = 1; i < length; i++) {
    const byte = view.getUint8(place + width + i);
    isOpen &&= byte === 255;
    size = size * 256 + byte;
  }
  return { id, size: isOpen ? NaN : size, header: width + length };
}
