/** Copies that need not be made, because what follows can read what would have been copied. */

/** @typedef {import("./kernels.js").Kernel} Kernel */

/** Kernels that read keys and values, bound at 1 and 2; the copy has them at 0 and 1, and its own at 2 and 3. */
export const READERS = new Set(["attention", "attention, split"]);

/** @type {WeakMap<GPUDevice, Copies>} */
const devices = new WeakMap();

/**
 * Before attention ONNX Runtime copies keys and values whole, to where new ones would be appended. Ours are in place already, so where our
 * attention follows and reads the copy, it reads what would have been copied, and nothing is. Any other follower finds the copy made.
 */
export class Copies {
  /** @type {WeakMap<GPUBindGroup, GPUBindGroupDescriptor>} what is bound */
  #groups = new WeakMap();
  /** @type {WeakMap<GPUBindGroup, {copy: GPUBindGroup, group: GPUBindGroup}>} what attention binds instead */
  #direct = new WeakMap();
  /** @type {Set<GPUBindGroup>} of copies that were not made since somebody began to listen */
  #leftOut = new Set();

  /** @param {GPUDevice} device @param {WeakMap<object, Kernel>} kinds @param {Set<Kernel>} used */
  constructor(device, kinds, used) {
    this.device = device;
    this.kinds = kinds;
    this.used = used;
    devices.set(device, this);
  }

  /** Those of a device, where it has any. @param {GPUDevice} device */
  static of(device) {
    return devices.get(device);
  }

  /** @param {GPUBindGroup} group @param {GPUBindGroupDescriptor} descriptor */
  watchGroup(group, descriptor) {
    this.#groups.set(group, { ...descriptor, entries: [...descriptor.entries] });
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
      if (put && direct) {
        this.#leftOut.add(put.group);
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

  /**
   * What a recording needs no memory for: where the copies that it leaves out would go.
   * @param {() => Promise<import("./tape.js").Step[]>} listening to what it dispatches
   */
  async without(listening) {
    this.#leftOut.clear();
    const steps = await listening();
    const bound = new Set(steps.flatMap(({ groups }) => groups.flatMap((group) => [...(this.#groups.get(group)?.entries ?? [])].map(({ resource }) => bufferOf(resource)))));
    const goals = [...this.#leftOut].flatMap((group) => [2, 3].map((binding) => bufferOf(boundAt(/** @type {GPUBindGroupDescriptor} */ (this.#groups.get(group)), binding))));
    const unneeded = new Set(goals.filter((buffer) => !bound.has(buffer)));
    for (const buffer of unneeded) /** @type {GPUBuffer} */ (buffer).destroy();
    return steps;
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
