/** Counts what a worker asks of its GPU, by wrapping the API: dispatches, submissions, bind groups, buffers, writes. */

/** @typedef {{dispatches: number, submits: number, bindGroups: number, buffers: number, bytes: number, writes: number, maps: number}} Counts */

/** @returns {Counts} which go on counting; all zero where there is no WebGPU */
export function meterGpu() {
  const counts = { dispatches: 0, submits: 0, bindGroups: 0, buffers: 0, bytes: 0, writes: 0, maps: 0 };
  if (!("GPUDevice" in self)) return counts;
  wrap(GPUComputePassEncoder.prototype, "dispatchWorkgroups", () => (counts.dispatches += 1));
  wrap(GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", () => (counts.dispatches += 1));
  wrap(GPUQueue.prototype, "submit", () => (counts.submits += 1));
  wrap(GPUQueue.prototype, "writeBuffer", () => (counts.writes += 1));
  wrap(GPUDevice.prototype, "createBindGroup", () => (counts.bindGroups += 1));
  wrap(GPUBuffer.prototype, "mapAsync", () => (counts.maps += 1));
  wrap(GPUDevice.prototype, "createBuffer", (/** @type {GPUBufferDescriptor} */ { size }) => {
    counts.buffers += 1;
    counts.bytes += size;
  });
  /** @type {WeakSet<GPUBuffer>} ONNX Runtime destroys again what it does not know to be gone */
  const destroyed = new WeakSet();
  wrap(GPUBuffer.prototype, "destroy", function () {
    const buffer = /** @type {GPUBuffer} */ (/** @type {unknown} */ (this));
    if (!destroyed.has(buffer)) counts.bytes -= buffer.size;
    destroyed.add(buffer);
  });
  return counts;
}

/** @param {any} prototype @param {string} name @param {(this: any, ...words: any[]) => void} tell */
function wrap(prototype, name, tell) {
  const method = prototype[name];
  prototype[name] = function (/** @type {any[]} */ ...words) {
    tell.apply(this, words);
    return method.apply(this, words);
  };
}
