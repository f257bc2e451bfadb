/**
 * What was dispatched, to be dispatched again: pipelines, what they bind, and how many workgroups.
 *
 * ONNX Runtime plays what it has recorded by telling the browser every call from WebAssembly, which costs more than the calls. So the first
 * time it plays a recording somebody listens, and from then on the same calls are made from here, over the same buffers.
 */

/** @typedef {{pipeline: GPUComputePipeline, groups: GPUBindGroup[], sizes: [number, number?, number?]}} Step */

/**
 * Have ONNX Runtime do something; -> all that it dispatched. Nobody else may dispatch meanwhile.
 * @param {() => Promise<void>} work
 * @returns {Promise<Step[]>}
 */
export async function listen(work) {
  const { prototype } = GPUComputePassEncoder;
  const { setPipeline, setBindGroup, dispatchWorkgroups } = prototype;
  /** @type {Step[]} */
  const steps = [];
  /** @type {GPUComputePipeline | null} */
  let pipeline = null;
  /** @type {GPUBindGroup[]} */
  let groups = [];
  prototype.setPipeline = function (value) {
    pipeline = value;
    setPipeline.call(this, value);
  };
  prototype.setBindGroup = /** @this {GPUComputePassEncoder} @param {any[]} words */ function (...words) {
    groups = [...groups];
    groups[words[0]] = words[1];
    /** @type {any} */ (setBindGroup).apply(this, words);
  };
  prototype.dispatchWorkgroups = function (...sizes) {
    steps.push({ pipeline: /** @type {GPUComputePipeline} */ (pipeline), groups, sizes });
    dispatchWorkgroups.apply(this, sizes);
  };
  try {
    await work();
  } finally {
    Object.assign(prototype, { setPipeline, setBindGroup, dispatchWorkgroups });
  }
  return steps;
}

/** Dispatch all of it again. @param {GPUCommandEncoder} encoder @param {Step[]} steps */
export function play(encoder, steps) {
  // Not the encoder's own, which looks for copies to leave out (kernels.js): those are left out of the steps already.
  const pass = GPUCommandEncoder.prototype.beginComputePass.call(encoder);
  for (const { pipeline, groups, sizes } of steps) {
    pass.setPipeline(pipeline);
    groups.forEach((group, index) => pass.setBindGroup(index, group));
    pass.dispatchWorkgroups(...sizes);
  }
  pass.end();
}
