/** Bytes that are appended and read back, kept in blobs: a browser moves large ones to disk, so hours of video do not fill the memory. */

const PART = 1 << 20; // bytes gathered before they become a blob

export class BlobStore {
  /** @type {Blob[]} */
  #parts = [];
  /** @type {Uint8Array[]} */
  #latest = [];
  #latestBytes = 0;
  #flushed = 0;

  /** @param {Uint8Array} bytes which become the store's */
  append(bytes) {
    this.#latest.push(bytes);
    this.#latestBytes += bytes.length;
    if (this.#latestBytes >= PART) this.#flush();
  }

  /** @param {number} start @param {number} end @returns {Promise<Uint8Array>} */
  async read(start, end) {
    if (end > this.#flushed) this.#flush();
    return new Uint8Array(await this.blob().slice(start, end).arrayBuffer());
  }

  /** All of it. */
  blob() {
    if (this.#latestBytes) this.#flush();
    if (this.#parts.length > 64) this.#parts = [new Blob(this.#parts)]; // a blob of blobs copies nothing
    return new Blob(this.#parts);
  }

  #flush() {
    this.#parts.push(new Blob(/** @type {BlobPart[]} */ (this.#latest)));
    this.#flushed += this.#latestBytes;
    this.#latest = [];
    this.#latestBytes = 0;
  }
}
