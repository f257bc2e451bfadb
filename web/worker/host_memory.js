/** Tensors of the WASM route: typed arrays, which ONNX Runtime copies in and out. */

import { Tensor } from "onnxruntime-web/webgpu";

/** @typedef {import("./inference.js").Handle} Handle */

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };

export class HostMemory {
  live = 0;

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @param {Uint8Array} bytes @returns {Handle} */
  upload(dtype, dims, bytes) {
    const copy = bytes.slice(); // aligned, and not a view of memory that may move
    return this.adopt(new Tensor(dtype, new ARRAYS[dtype](copy.buffer), dims));
  }

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @returns {Handle} */
  zeros(dtype, dims) {
    return this.adopt(new Tensor(dtype, new ARRAYS[dtype](dims.reduce((size, dim) => size * dim, 1)), dims));
  }

  /** @param {Tensor} tensor @returns {Handle} */
  adopt(tensor) {
    this.live += 1;
    return { dtype: /** @type {"float32"} */ (tensor.type), dims: [...tensor.dims], tensor, buffer: null, owned: true };
  }

  /** @param {Handle} handle @param {Tensor} tensor */
  replace(handle, tensor) {
    handle.tensor = tensor;
    return handle;
  }

  /** @param {Handle[]} handles */
  async read(handles) {
    return handles.map(({ dtype, dims, tensor }) => {
      const data = /** @type {Float32Array} */ (tensor.data);
      return { dtype, dims, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
    });
  }

  /** @param {Handle} handle */
  release(handle) {
    if (!handle.owned) return;
    handle.owned = false;
    this.live -= 1;
    handle.tensor = /** @type {any} */ (null);
  }

  close() {}
}
