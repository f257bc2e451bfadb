/** Scale RGBA pictures down: antialiased bilinear, colours weighted by alpha, as Pillow does for the command line's GIFs. */

/** @typedef {{first: Int32Array, count: Int32Array, weights: Float32Array, widest: number}} Taps of one direction, by target position */

/** A scaler from one size to another; its memory is used again for every picture. */
export class Scaler {
  /**
   * @param {number} width
   * @param {number} height
   * @param {number} toWidth
   * @param {number} toHeight
   */
  constructor(width, height, toWidth, toHeight) {
    this.size = { width, height, toWidth, toHeight };
    this._across = taps(width, toWidth);
    this._down = taps(height, toHeight);
    this._rows = new Float32Array(4 * toWidth * height); // premultiplied, scaled across only
    this._line = new Float32Array(4 * width);
    this._result = new Uint8ClampedArray(4 * toWidth * toHeight);
  }

  /** @param {number} width @param {number} height @param {number} toWidth @param {number} toHeight */
  fits(width, height, toWidth, toHeight) {
    const { size } = this;
    return size.width === width && size.height === height && size.toWidth === toWidth && size.toHeight === toHeight;
  }

  /**
   * @param {Uint8ClampedArray} pixels RGBA [height, width, 4]
   * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA [toHeight, toWidth, 4], overwritten by the next call
   */
  scale(pixels) {
    const { width, height, toWidth } = this.size;
    for (let y = 0; y < height; y++) {
      premultiply(pixels, 4 * y * width, this._line);
      this._scaleAcross(4 * y * toWidth);
    }
    this._scaleDown();
    return this._result;
  }

  /** @param {number} target where the row starts */
  _scaleAcross(target) {
    const { first, count, weights, widest } = this._across;
    const { _line: line, _rows: rows } = this;
    for (let x = 0; x < first.length; x++, target += 4) {
      let [r, g, b, a] = [0, 0, 0, 0];
      for (let k = 0, i = 4 * first[x]; k < count[x]; k++, i += 4) {
        const weight = weights[x * widest + k];
        r += weight * line[i];
        g += weight * line[i + 1];
        b += weight * line[i + 2];
        a += weight * line[i + 3];
      }
      rows[target] = r;
      rows[target + 1] = g;
      rows[target + 2] = b;
      rows[target + 3] = a;
    }
  }

  _scaleDown() {
    const { first, count, weights, widest } = this._down;
    const stride = 4 * this.size.toWidth;
    const { _rows: rows, _result: result } = this;
    for (let y = 0, target = 0; y < first.length; y++) {
      for (let x = 0; x < stride; x += 4, target += 4) {
        let [r, g, b, a] = [0, 0, 0, 0];
        for (let k = 0, i = first[y] * stride + x; k < count[y]; k++, i += stride) {
          const weight = weights[y * widest + k];
          r += weight * rows[i];
          g += weight * rows[i + 1];
          b += weight * rows[i + 2];
          a += weight * rows[i + 3];
        }
        const unit = a > 0 ? 255 / a : 0;
        result[target] = r * unit;
        result[target + 1] = g * unit;
        result[target + 2] = b * unit;
        result[target + 3] = a;
      }
    }
  }
}

/**
 * @param {Uint8ClampedArray} pixels
 * @param {number} start
 * @param {Float32Array} line
 */
function premultiply(pixels, start, line) {
  for (let i = 0; i < line.length; i += 4) {
    const alpha = pixels[start + i + 3];
    const share = alpha / 255;
    line[i] = pixels[start + i] * share;
    line[i + 1] = pixels[start + i + 1] * share;
    line[i + 2] = pixels[start + i + 2] * share;
    line[i + 3] = alpha;
  }
}

/**
 * A triangle as wide as the step between target pixels, at least two source pixels.
 * @param {number} from
 * @param {number} to
 * @returns {Taps}
 */
function taps(from, to) {
  const step = from / to;
  const reach = Math.max(step, 1);
  const widest = Math.ceil(reach) * 2 + 1;
  const [first, count, weights] = [new Int32Array(to), new Int32Array(to), new Float32Array(to * widest)];
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * step;
    first[i] = Math.max(0, Math.trunc(centre - reach + 0.5));
    count[i] = Math.min(from, Math.trunc(centre + reach + 0.5)) - first[i];
    let sum = 0;
    for (let k = 0; k < count[i]; k++) {
      const weight = Math.max(0, 1 - Math.abs(first[i] + k + 0.5 - centre) / reach);
      weights[i * widest + k] = weight;
      sum += weight;
    }
    for (let k = 0; k < count[i]; k++) weights[i * widest + k] /= sum;
  }
  return { first, count, weights, widest };
}

/** Pictures of any size brought to one size; those that have it already are given back as they are. */
export class Fitter {
  /** @type {Scaler | null} */
  _scaler = null;

  /**
   * @param {Uint8ClampedArray<ArrayBuffer>} pixels
   * @param {{width: number, height: number}} from
   * @param {{width: number, height: number}} to
   * @returns {Uint8ClampedArray<ArrayBuffer>} which the next call may overwrite
   */
  fit(pixels, from, to) {
    if (from.width === to.width && from.height === to.height) return pixels;
    if (!this._scaler?.fits(from.width, from.height, to.width, to.height)) {
      this._scaler = new Scaler(from.width, from.height, to.width, to.height);
    }
    return this._scaler.scale(pixels);
  }
}
