/** Tensors of the WebGPU route: buffers of ours, kept for the next of the same size, and buffers that ONNX Runtime gave. */

import { Tensor } from "onnxruntime-web/webgpu";

/** @typedef {import("./inference.js").Handle} Handle */

const USAGE = 0x80 | 0x4 | 0x8; // STORAGE | COPY_SRC | COPY_DST
const BYTES = { float32: 4, int32: 4, uint8: 1 };
const KEPT_BYTES = 256 << 20; // of buffers that wait for their next use
const NEVER_POOLED = 64 << 20; // bytes: caches of many tiles, which come in ever new sizes

export const own = { copies: 0 }; // from buffer to buffer, ours: what is not is ONNX Runtime's

export class GpuMemory {
  live = 0;
  bytes = 0; // of our buffers, waiting ones included
  #kept = 0;
  /** @type {Map<number, GPUBuffer[]>} by size */
  #waiting = new Map();
  /** @type {GPUBuffer[]} for reading back; several reads may be under way */
  #staging = [];

  /** @param {GPUDevice} device */
  constructor(device) {
    this.device = device;
  }

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @param {Uint8Array} bytes @returns {Handle} */
  upload(dtype, dims, bytes) {
    const buffer = this.#buffer(padded(bytes.byteLength));
    const whole = bytes.byteLength & ~3;
    if (whole) this.device.queue.writeBuffer(buffer, 0, /** @type {any} */ (bytes), 0, whole);
    if (whole < bytes.byteLength) {
      const last = new Uint8Array(4);
      last.set(bytes.subarray(whole));
      this.device.queue.writeBuffer(buffer, whole, last);
    }
    return this.#own(dtype, dims, buffer);
  }

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @returns {Handle} */
  zeros(dtype, dims) {
    const buffer = this.#buffer(padded(byteLength({ dtype, dims })));
    const encoder = this.device.createCommandEncoder();
    encoder.clearBuffer(buffer);
    this.device.queue.submit([encoder.finish()]);
    return this.#own(dtype, dims, buffer);
  }

  /** A tensor of whatever the buffer held. @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @returns {Handle} */
  fresh(dtype, dims) {
    return this.#own(dtype, dims, this.#buffer(padded(byteLength({ dtype, dims }))));
  }

  /** Another handle of a tensor's buffer, which is released on its own. @param {Handle} handle @returns {Handle} */
  share(handle) {
    this.live += 1;
    return { ...handle };
  }

  /** What ONNX Runtime gave. @param {Tensor} tensor @returns {Handle} */
  adopt(tensor) {
    this.live += 1;
    const buffer = /** @type {GPUBuffer} */ (/** @type {unknown} */ (tensor.gpuBuffer));
    return { dtype: /** @type {"float32"} */ (tensor.type), dims: [...tensor.dims], tensor, buffer, owned: false };
  }

  /** On the GPU every tensor can be changed in place. @param {Handle} _handle */
  pin(_handle) {}

  /** @param {Handle[]} handles */
  async read(handles) {
    const sizes = handles.map(byteLength);
    const offsets = sizes.map((_, index) => sizes.slice(0, index).reduce((sum, size) => sum + padded(size), 0));
    const total = sizes.reduce((sum, size) => sum + padded(size), 0);
    const staging = this.#stagingOf(total);
    const encoder = this.device.createCommandEncoder();
    own.copies += handles.length;
    handles.forEach((handle, index) => {
      encoder.copyBufferToBuffer(/** @type {GPUBuffer} */ (handle.buffer), 0, staging, offsets[index], (sizes[index] + 3) & ~3);
    });
    this.device.queue.submit([encoder.finish()]);
    await staging.mapAsync(1, 0, total); // GPUMapMode.READ
    const copy = staging.getMappedRange(0, total).slice(0);
    staging.unmap();
    this.#staging.push(staging);
    return handles.map(({ dtype, dims }, index) => ({ dtype, dims, data: new Uint8Array(copy, offsets[index], sizes[index]) }));
  }

  /** @param {Handle} handle */
  release(handle) {
    const buffer = handle.buffer;
    if (!buffer) return; // was released
    handle.buffer = null;
    this.live -= 1;
    if (handle.home) {
      handle.home.residents -= 1; // whose buffer it is
      handle.home = null;
      return;
    }
    if (!handle.owned) handle.tensor.dispose();
    else if (buffer.size <= NEVER_POOLED && this.#kept + buffer.size <= KEPT_BYTES) {
      const waiting = this.#waiting.get(buffer.size);
      if (waiting) waiting.push(buffer);
      else this.#waiting.set(buffer.size, [buffer]);
      this.#kept += buffer.size;
    } else {
      this.bytes -= buffer.size;
      buffer.destroy();
    }
    handle.tensor = /** @type {any} */ (null);
  }

  close() {
    for (const buffers of this.#waiting.values()) for (const buffer of buffers) buffer.destroy();
    this.#waiting.clear();
    for (const buffer of this.#staging) buffer.destroy();
    this.#staging = [];
  }

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @param {GPUBuffer} buffer @returns {Handle} */
  #own(dtype, dims, buffer) {
    this.live += 1;
    const tensor = Tensor.fromGpuBuffer(/** @type {any} */ (buffer), { dataType: dtype, dims });
    return { dtype, dims: [...dims], tensor: /** @type {any} */ (tensor), buffer, owned: true };
  }

  /** @param {number} size */
  #buffer(size) {
    const waiting = this.#waiting.get(size)?.pop();
    if (waiting) {
      this.#kept -= size;
      return waiting;
    }
    this.bytes += size;
    return this.device.createBuffer({ size, usage: USAGE });
  }

  /** @param {number} size */
  #stagingOf(size) {
    const known = this.#staging.pop();
    if (known && known.size >= size) return known;
    known?.destroy();
    return this.device.createBuffer({ size: Math.max(size, 1 << 16), usage: 0x1 | 0x8 }); // MAP_READ | COPY_DST
  }
}

/** Bytes of a tensor. @param {Pick<Handle, "dtype" | "dims">} handle */
export function byteLength({ dtype, dims }) {
  return dims.reduce((size, dim) => size * dim, BYTES[dtype]);
}

/** ONNX Runtime copies buffers in steps of 16 bytes. @param {number} bytes */
function padded(bytes) {
  return Math.max(16, (bytes + 15) & ~15);
}
