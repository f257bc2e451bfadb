/** What mediabunny does not tell of an MP4: whether it has an index, and which stretch of a track its edit list shows. */

/**
 * @typedef {object} Edit the stretch that is shown, on the track's own clock as mediabunny gives it
 * @property {number} start seconds
 * @property {number} end seconds; Infinity where the list does not say
 * @property {number} parts stretches in the list; only the first is followed
 */

/** @typedef {{hasIndex: boolean, edits: Map<number, Edit>}} Boxes edits by the track's number */

const MAX_INDEX = 256 << 20; // bytes; a day of video needs less

/**
 * @param {Blob} blob
 * @returns {Promise<Boxes>}
 */
export async function readBoxes(blob) {
  let place = 0;
  while (place + 8 <= blob.size) {
    const head = new DataView(await blob.slice(place, place + 16).arrayBuffer());
    const { type, size, header } = boxAt(head, 0, blob.size - place);
    if (size < header) break;
    if (type === "moov" && size <= MAX_INDEX && place + size <= blob.size) {
      const index = new DataView(await blob.slice(place + header, place + size).arrayBuffer());
      return { hasIndex: true, edits: editsOf(index) };
    }
    place += size;
  }
  return { hasIndex: false, edits: new Map() };
}

/**
 * @param {DataView} view
 * @param {number} place
 * @param {number} rest bytes up to the end of what holds the box, which a size of 0 stands for
 */
function boxAt(view, place, rest) {
  let size = view.getUint32(place);
  let header = 8;
  if (size === 1 && view.byteLength >= place + 16) {
    size = Number(view.getBigUint64(place + 8));
    header = 16;
  }
  return { type: String.fromCharCode(...new Uint8Array(view.buffer, view.byteOffset + place + 4, 4)), size: size || rest, header };
}

/**
 * The boxes directly in a box.
 * @param {DataView} view its contents
 * @returns {Generator<[string, DataView]>}
 */
function* children(view) {
  for (let place = 0; place + 8 <= view.byteLength; ) {
    const { type, size, header } = boxAt(view, place, view.byteLength - place);
    if (size < header || place + size > view.byteLength) return;
    yield [type, new DataView(view.buffer, view.byteOffset + place + header, size - header)];
    place += size;
  }
}

/**
 * @param {DataView} moov
 * @returns {Map<number, Edit>}
 */
function editsOf(moov) {
  const edits = new Map();
  let timescale = 1000;
  for (const [type, box] of children(moov)) {
    if (type === "mvhd") timescale = box.getUint32(box.getUint8(0) ? 20 : 12) || 1000;
    if (type !== "trak") continue;
    let number = 0;
    /** @type {Edit | null} */
    let edit = null;
    for (const [inner, part] of children(box)) {
      if (inner === "tkhd") number = part.getUint32(part.getUint8(0) ? 20 : 12);
      if (inner !== "edts") continue;
      for (const [list, entries] of children(part)) if (list === "elst") edit = firstEdit(entries, timescale);
    }
    if (edit) edits.set(number, edit);
  }
  return edits;
}

/**
 * @param {DataView} list contents of an "elst" box
 * @param {number} timescale of the film: durations are in it
 * @returns {Edit | null}
 */
function firstEdit(list, timescale) {
  const wide = list.getUint8(0) === 1;
  const entry = wide ? 20 : 12;
  let start = 0;
  /** @type {Edit | null} */
  let edit = null;
  for (let place = 8; place + entry <= list.byteLength; place += entry) {
    const duration = Number(wide ? list.getBigUint64(place) : list.getUint32(place)) / timescale;
    const isEmpty = wide ? list.getBigInt64(place + 8) < 0n : list.getInt32(place + 4) < 0;
    if (edit) edit.parts += isEmpty ? 0 : 1;
    else if (isEmpty) start += duration;
    else edit = { start, end: duration ? start + duration : Infinity, parts: 1 };
  }
  return edit;
}
