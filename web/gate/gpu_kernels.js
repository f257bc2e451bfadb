/**
 * Times every dispatch on a worker's GPU, each by a compute pass of its own between two timestamps. Slow as a whole: for finding out where
 * time goes, not how much there is. Chromium rounds timestamps to 0.1 ms unless it runs with --enable-webgpu-developer-features.
 */

import { fingerprint } from "../worker/shader_text.js";

/** @typedef {{graph: string, kernel: string, count: number, seconds: number}} Kernel kernel: what it reads → what it writes, and a hash of its shader */

const QUERIES = 4096; // of a set: two a dispatch
const SHADERS = 12; // of the costliest kernels, to be read

export class KernelTimes {
  /** @type {Map<string, Kernel>} */
  #kernels = new Map();
  /** @type {Map<string, string>} WGSL by kernel */
  #codes = new Map();
  /** @type {string[]} kernels that were dispatched since the last `settle` */
  #dispatched = [];
  /** @type {GPUQuerySet | null} */
  #queries = null;

  /** Wrap the API; before the first pipeline is made. */
  constructor() {
    /** @type {WeakMap<object, string>} kernel of a module or pipeline */
    const names = new WeakMap();
    const device = GPUDevice.prototype;
    const { createShaderModule, createComputePipeline, createComputePipelineAsync } = device;
    const codes = this.#codes;
    device.createShaderModule = function (descriptor) {
      const module = createShaderModule.call(this, descriptor);
      const name = kernelName(descriptor.code);
      codes.set(name, descriptor.code);
      names.set(module, name);
      return module;
    };
    device.createComputePipeline = function (descriptor) {
      const pipeline = createComputePipeline.call(this, descriptor);
      names.set(pipeline, names.get(descriptor.compute.module) ?? "");
      return pipeline;
    };
    device.createComputePipelineAsync = async function (descriptor) {
      const pipeline = await createComputePipelineAsync.call(this, descriptor);
      names.set(pipeline, names.get(descriptor.compute.module) ?? "");
      return pipeline;
    };
    const { beginComputePass } = GPUCommandEncoder.prototype;
    const query = (/** @type {GPUComputePipeline} */ pipeline) => this.#query(names.get(pipeline) ?? "");
    GPUCommandEncoder.prototype.beginComputePass = function () {
      return /** @type {any} */ (new TimedPass((descriptor) => beginComputePass.call(this, descriptor), query));
    };
  }

  /** The timestamps of the next dispatch. @param {string} kernel @returns {GPUComputePassTimestampWrites | undefined} */
  #query(kernel) {
    const index = 2 * this.#dispatched.length;
    if (!this.#queries || index >= QUERIES) return undefined;
    this.#dispatched.push(kernel);
    return { querySet: this.#queries, beginningOfPassWriteIndex: index, endOfPassWriteIndex: index + 1 };
  }

  /** Take what was dispatched since the last time for a graph's; "" for nobody's. @param {GPUDevice} device @param {string} graph */
  async settle(device, graph) {
    const dispatched = this.#dispatched;
    if (graph && this.#queries && dispatched.length) {
      const size = 16 * dispatched.length;
      const [resolved, staging] = [0x200 | 0x4, 0x1 | 0x8].map((usage) => device.createBuffer({ size, usage })); // QUERY_RESOLVE | COPY_SRC, MAP_READ | COPY_DST
      const encoder = device.createCommandEncoder();
      encoder.resolveQuerySet(this.#queries, 0, 2 * dispatched.length, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(1);
      const stamps = new BigInt64Array(staging.getMappedRange()); // nanoseconds
      dispatched.forEach((kernel, index) => this.#add(graph, kernel, Number(stamps[2 * index + 1] - stamps[2 * index]) / 1e9));
      resolved.destroy();
      staging.destroy();
    }
    this.#dispatched = [];
    this.#queries ??= device.createQuerySet({ type: "timestamp", count: QUERIES });
  }

  /** @param {string} graph @param {string} kernel @param {number} seconds */
  #add(graph, kernel, seconds) {
    const key = `${graph} ${kernel}`;
    const entry = this.#kernels.get(key) ?? { graph, kernel, count: 0, seconds: 0 };
    this.#kernels.set(key, entry);
    entry.count += 1;
    entry.seconds += seconds;
  }

  /** What was timed since the last time, the costliest first, and the shaders of the first. */
  take() {
    const kernels = [...this.#kernels.values()].sort((one, other) => other.seconds - one.seconds);
    this.#kernels.clear();
    return { kernels, shaders: Object.fromEntries(kernels.slice(0, SHADERS).map(({ kernel }) => [kernel, this.#codes.get(kernel)])) };
  }
}

/** Stands in for a compute pass, and begins one for each dispatch. */
class TimedPass {
  /** @type {GPUComputePipeline | null} */
  #pipeline = null;
  /** @type {any[][]} */
  #groups = [];

  /** @param {(descriptor: GPUComputePassDescriptor) => GPUComputePassEncoder} begin @param {(pipeline: GPUComputePipeline) => GPUComputePassTimestampWrites | undefined} query */
  constructor(begin, query) {
    this.begin = begin;
    this.query = query;
  }

  /** @param {GPUComputePipeline} pipeline */
  setPipeline(pipeline) {
    this.#pipeline = pipeline;
  }

  /** @param {any[]} words */
  setBindGroup(...words) {
    this.#groups[words[0]] = words;
  }

  /** @param {any[]} sizes */
  dispatchWorkgroups(...sizes) {
    this.#dispatch((pass) => /** @type {any} */ (pass).dispatchWorkgroups(...sizes));
  }

  /** @param {any[]} words */
  dispatchWorkgroupsIndirect(...words) {
    this.#dispatch((pass) => /** @type {any} */ (pass).dispatchWorkgroupsIndirect(...words));
  }

  /** @param {(pass: GPUComputePassEncoder) => void} dispatch */
  #dispatch(dispatch) {
    const pipeline = /** @type {GPUComputePipeline} */ (this.#pipeline);
    const timestampWrites = this.query(pipeline);
    const pass = this.begin(timestampWrites ? { timestampWrites } : {});
    pass.setPipeline(pipeline);
    for (const group of this.#groups) if (group) /** @type {any} */ (pass).setBindGroup(...group);
    dispatch(pass);
    pass.end();
  }

  end() {}
}

/** "a, b → output #1f3c" of a shader's bindings. @param {string} code */
function kernelName(code) {
  /** @param {string} access */
  const bound = (access) => [...code.matchAll(new RegExp(`var<storage, ${access}>\\s*(\\w+)`, "g"))].map(([, name]) => name).join(", ");
  return `${bound("read")} → ${bound("read_write")} #${fingerprint(code)}`;
}
