/** The numbers of every frame of a run, in typed arrays: two hours of video are some 200,000 frames. */

/** @typedef {import("../shared/messages.js").FrameNews} FrameNews */

const COLUMNS = /** @type {const} */ (["time", "update", "mask", "psnr", "updateEma", "maskEma", "psnrEma", "gazeSeconds"]);
const START = 1024; // frames

/** Frames 0 … count − 1; what is not known is NaN. */
export class Track {
  count = 0;
  /** @type {Record<typeof COLUMNS[number], Float64Array>} by frame */
  columns;
  /** @type {Uint32Array} by frame and scale */
  tokens;
  /** @type {Uint8Array} by frame */
  keyframes = new Uint8Array(START);
  /** Goes up with every change. */
  version = 0;

  /** @param {number} scales */
  constructor(scales) {
    this.scales = scales;
    this.columns = /** @type {any} */ (Object.fromEntries(COLUMNS.map((name) => [name, new Float64Array(START)])));
    this.tokens = new Uint32Array(START * scales);
  }

  /**
   * A frame's numbers; those of a frame that is painted again take the place of the old.
   * @param {FrameNews} news
   */
  put(news) {
    const { index } = news;
    if (index >= this.keyframes.length) this.#grow(Math.max(index + 1, this.keyframes.length * 2));
    const { columns } = this;
    columns.time[index] = news.time;
    columns.update[index] = news.update_ratio;
    columns.mask[index] = news.mask_ratio;
    columns.psnr[index] = news.psnr_db;
    columns.updateEma[index] = news.update_ratio_ema ?? NaN;
    columns.maskEma[index] = news.mask_ratio_ema ?? NaN;
    columns.psnrEma[index] = news.psnr_db_ema ?? NaN;
    columns.gazeSeconds[index] = news.seconds[1] || columns.gazeSeconds[index] || NaN; // painting again, none is gazed at
    this.keyframes[index] = Number(news.keyframe);
    for (let scale = 0; scale < this.scales; scale++) this.tokens[index * this.scales + scale] = news.tokens[scale] ?? 0;
    this.count = Math.max(this.count, index + 1);
    this.version++;
  }

  /**
   * Tokens of a frame by scale.
   * @param {number} index
   */
  tokensAt(index) {
    return Array.from(this.tokens.subarray(index * this.scales, (index + 1) * this.scales));
  }

  /**
   * The last frame that begins at a time or before; 0 where none does.
   * @param {number} seconds
   */
  frameAt(seconds) {
    const { time } = this.columns;
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (/** @type {number} */ (time[middle]) <= seconds + 1e-6) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /**
   * Frames gazed at a second, over the last so many.
   * @param {number} frames
   * @returns {number | null}
   */
  gazeRate(frames) {
    const seconds = this.columns.gazeSeconds.subarray(Math.max(0, this.count - frames), this.count).filter((value) => value >= 0);
    const total = seconds.reduce((sum, value) => sum + value, 0);
    return total > 0 ? seconds.length / total : null;
  }

  /** @param {number} capacity frames */
  #grow(capacity) {
    for (const name of COLUMNS) this.columns[name] = copied(this.columns[name], new Float64Array(capacity));
    this.tokens = copied(this.tokens, new Uint32Array(capacity * this.scales));
    this.keyframes = copied(this.keyframes, new Uint8Array(capacity));
  }
}

/**
 * @template {Float64Array | Uint32Array | Uint8Array} T
 * @param {T} from
 * @param {T} to
 * @returns {T} to
 */
function copied(from, to) {
  to.set(from);
  return to;
}
