/**
 * Tensors of the WASM route. Large ones of ours lie in ONNX Runtime's own memory (web/ort_in_place.mjs), where it reads and changes them in
 * place; the others are typed arrays, which it copies in and out.
 */

import * as ort from "onnxruntime-web/webgpu";
import { OutOfMemory } from "./trouble.js";

/** @typedef {import("./inference.js").Handle} Handle */
/** @typedef {{HEAPU8: Uint8Array, _malloc(bytes: number): number, _free(pointer: number): void}} Module */

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
const WORTH_IT = 1 << 16; // bytes

/** @returns {Module} */
const module = () => /** @type {any} */ (ort).wasmModule();

export class HostMemory {
  live = 0;

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @param {Uint8Array} bytes @returns {Handle} */
  upload(dtype, dims, bytes) {
    const array = allocated(dtype, bytes.length);
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).set(bytes);
    return this.adopt(new ort.Tensor(dtype, /** @type {any} */ (array), dims));
  }

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @returns {Handle} */
  zeros(dtype, dims) {
    const array = allocated(dtype, dims.reduce((size, dim) => size * dim, ARRAYS[dtype].BYTES_PER_ELEMENT));
    array.fill(0);
    return this.adopt(new ort.Tensor(dtype, /** @type {any} */ (array), dims));
  }

  /** @param {ort.Tensor} tensor @returns {Handle} */
  adopt(tensor) {
    this.live += 1;
    return { dtype: /** @type {"float32"} */ (tensor.type), dims: [...tensor.dims], tensor, buffer: null, owned: true };
  }

  /** Have a tensor lie where a graph can change it in place. @param {Handle} handle */
  pin(handle) {
    const data = /** @type {any} */ (handle.tensor.data);
    if (data.pointer !== undefined) return;
    const array = allocated(handle.dtype, data.byteLength, 0);
    array.set(data);
    handle.tensor = new ort.Tensor(handle.dtype, /** @type {any} */ (array), handle.dims);
  }

  /** @param {Handle[]} handles */
  async read(handles) {
    return handles.map(({ dtype, dims, tensor }) => {
      const data = /** @type {Float32Array} */ (tensor.data);
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      return { dtype, dims, data: /** @type {any} */ (data).pointer === undefined ? bytes : bytes.slice() };
    });
  }

  /** @param {Handle} handle */
  release(handle) {
    if (!handle.owned) return;
    handle.owned = false;
    this.live -= 1;
    const pointer = /** @type {any} */ (handle.tensor.data).pointer;
    if (pointer !== undefined) module()._free(pointer);
    handle.tensor = /** @type {any} */ (null);
  }

  close() {}
}

/**
 * A typed array; in ONNX Runtime's memory where it is large.
 * @param {"float32" | "int32" | "uint8"} dtype @param {number} bytes @param {number} least
 */
function allocated(dtype, bytes, least = WORTH_IT) {
  const Kind = ARRAYS[dtype];
  if (bytes < least) return new Kind(bytes / Kind.BYTES_PER_ELEMENT);
  const pointer = module()._malloc(Math.max(bytes, 16)); // which may grow the memory: the view comes after
  if (!pointer) throw new OutOfMemory(`${bytes} bytes could not be had`);
  const array = new Kind(/** @type {ArrayBuffer} */ (module().HEAPU8.buffer), pointer, bytes / Kind.BYTES_PER_ELEMENT);
  return Object.assign(array, { pointer });
}
