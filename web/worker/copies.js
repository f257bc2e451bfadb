/** Copies that need not be made, because what follows can read what would have been copied. */

/** @typedef {import("./kernels.js").Kernel} Kernel */

/** Kernels that read keys and values, bound at 1 and 2; the copy has them at 0 and 1, and its own at 2 and 3. */
export const READERS = new Set(["attention", "attention, split"]);

/**
 * Before attention ONNX Runtime copies keys and values whole, to where new ones would be appended. Ours are in place already, so where our
 * attention follows and reads the copy, it reads what would have been copied, and nothing is. Any other follower finds the copy made.
 */
export class Copies {
  /** @type {WeakSet<GPUBindGroupLayout>} of copies and attention */
  #layouts = new WeakSet();
  /** @type {WeakMap<GPUBindGroup, GPUBindGroupDescriptor>} what is bound there */
  #groups = new WeakMap();
  /** @type {WeakMap<GPUBindGroup, {copy: GPUBindGroup, group: GPUBindGroup}>} what attention binds instead */
  #direct = new WeakMap();

  /** @param {GPUDevice} device @param {WeakMap<object, Kernel>} kinds @param {Set<Kernel>} used */
  constructor(device, kinds, used) {
    this.device = device;
    this.kinds = kinds;
    this.used = used;
  }

  /** Remember what is bound to such a pipeline from now on. @param {GPUBindGroupLayout[]} layouts of the pipeline */
  watchLayouts(layouts) {
    for (const layout of layouts) this.#layouts.add(layout);
  }

  /** @param {GPUBindGroup} group @param {GPUBindGroupDescriptor} descriptor */
  watchGroup(group, descriptor) {
    if (this.#layouts.has(descriptor.layout)) this.#groups.set(group, { ...descriptor, entries: [...descriptor.entries] });
    return group;
  }

  /** @param {GPUComputePassEncoder} pass */
  watchPass(pass) {
    const { setPipeline, dispatchWorkgroups, dispatchWorkgroupsIndirect, end } = pass;
    const setBindGroup = /** @type {(this: GPUComputePassEncoder, ...words: any[]) => void} */ (pass.setBindGroup); // one of its signatures
    /** @type {GPUComputePipeline | null} */
    let pipeline = null;
    /** @type {any} bind group 0 */
    let group = null;
    /** @type {{pipeline: GPUComputePipeline, group: GPUBindGroup, sizes: any} | null} a copy that may not be needed */
    let put = null;
    const makeUp = () => {
      if (!put) return;
      const [late, now, bound] = [put, pipeline, group];
      put = null;
      setPipeline.call(pass, late.pipeline);
      setBindGroup.call(pass, 0, late.group);
      dispatchWorkgroups.apply(pass, late.sizes);
      if (now) setPipeline.call(pass, now);
      if (bound) setBindGroup.call(pass, 0, bound);
    };
    pass.setPipeline = (value) => {
      pipeline = value;
      setPipeline.call(pass, value);
    };
    pass.setBindGroup = /** @type {any} */ ((/** @type {any[]} */ ...words) => {
      if (words[0] === 0) group = words[1];
      setBindGroup.apply(pass, words);
    });
    pass.dispatchWorkgroups = (...sizes) => {
      const kind = pipeline ? this.kinds.get(pipeline) : undefined;
      if (kind === "copy of caches") {
        makeUp();
        put = { pipeline: /** @type {GPUComputePipeline} */ (pipeline), group, sizes };
        return;
      }
      const direct = put && kind && READERS.has(kind) ? this.#uncopied(put.group, group) : null;
      if (direct) {
        put = null;
        setBindGroup.call(pass, 0, direct);
        group = direct;
      } else makeUp();
      dispatchWorkgroups.apply(pass, sizes);
    };
    pass.dispatchWorkgroupsIndirect = (...words) => {
      makeUp();
      dispatchWorkgroupsIndirect.apply(pass, words);
    };
    pass.end = () => {
      makeUp();
      end.call(pass);
    };
    return pass;
  }

  /** What attention binds to read what a copy reads; null where it does not read the copy. @param {GPUBindGroup} copy @param {GPUBindGroup} reader */
  #uncopied(copy, reader) {
    const known = this.#direct.get(reader);
    if (known?.copy === copy) return known.group;
    const [from, to] = [this.#groups.get(copy), this.#groups.get(reader)];
    if (!from || !to) return null;
    const [key, value, keyCopy, valueCopy] = [0, 1, 2, 3].map((binding) => boundAt(from, binding));
    if (bufferOf(boundAt(to, 1)) !== bufferOf(keyCopy) || bufferOf(boundAt(to, 2)) !== bufferOf(valueCopy)) return null;
    const entries = [...to.entries].map((entry) => (entry.binding === 1 ? { ...entry, resource: key } : entry.binding === 2 ? { ...entry, resource: value } : entry));
    const group = this.device.createBindGroup({ ...to, entries: /** @type {GPUBindGroupEntry[]} */ (entries) });
    this.#direct.set(reader, { copy, group });
    this.used.add("copy of caches");
    return group;
  }
}

/** @param {GPUBindGroupDescriptor} descriptor @param {number} at */
function boundAt({ entries }, at) {
  return [...entries].find(({ binding }) => binding === at)?.resource;
}

/** @param {GPUBindingResource | undefined} resource */
function bufferOf(resource) {
  return resource && "buffer" in resource ? resource.buffer : resource;
}
