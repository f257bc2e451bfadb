/** A file that is written mostly at its end, kept in blobs, which browsers move to disk when they are many. */

/** @typedef {{start: number, data: Blob}} Piece */

export class BlobSink {
  constructor() {
    /** @type {Blob[]} */
    this._parts = [];
    this._end = 0;
    /** @type {Piece[]} written over what was there: lengths and tables that are known at the end only */
    this._patches = [];
    /** @type {WritableStream<import("mediabunny").StreamTargetChunk>} */
    this.writable = new WritableStream({ write: ({ data, position }) => this._write(data, position) });
  }

  /**
   * @param {Uint8Array<ArrayBuffer>} data
   * @param {number} position
   */
  _write(data, position) {
    const old = Math.min(data.length, this._end - position); // bytes that replace others
    if (old < 0) throw new Error(`a gap of ${-old} bytes in what was written`);
    if (old > 0) this._patches.push({ start: position, data: new Blob([data.subarray(0, old)]) });
    if (old < data.length) this._parts.push(new Blob([data.subarray(old)]));
    this._end = Math.max(this._end, position + data.length);
  }

  /** @param {string} type */
  blob(type) {
    let whole = new Blob(this._parts);
    for (const { start, data } of this._patches) whole = new Blob([whole.slice(0, start), data, whole.slice(start + data.size)]);
    return new Blob([whole], { type });
  }
}
