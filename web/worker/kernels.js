/// <reference path="./kernels/wgsl.d.ts" />
/**
 * Kernels of ours in the place of ONNX Runtime's, where those were measured to be slow (docs/performance-log.md).
 *
 * ONNX Runtime hands its shaders to the device as text. One that is known, by its fingerprint, is replaced by one of ours with the same
 * bindings, uniforms and grid, that computes the same; one that is not known is left as it is. So a graph stays what defines a result, a
 * new release is at worst slower, and the gate, which tells what was replaced, holds these kernels to CUDA's numbers like all others.
 */

import argmax from "./kernels/argmax.wgsl";
import attention from "./kernels/attention.wgsl";
import join from "./kernels/attention_join.wgsl";
import split from "./kernels/attention_split.wgsl";
import skipNorm from "./kernels/skip_norm.wgsl";

/** @typedef {"attention" | "attention, split" | "attention, joined" | "argmax" | "skip norm" | "copy of caches"} Kernel */

/** @type {Record<string, Kernel>} by the fingerprint of ONNX Runtime 1.30's shader */
const KNOWN = {
  "2ec731f8": "attention",
  "0afcaea6": "attention, split", // of ten queries
  e5ee4128: "attention, split", // of two
  "5f8a1e7b": "attention, joined",
  a186087b: "attention, joined",
  "fb32b961": "argmax",
  "771a29f7": "skip norm",
  "db0bc6c4": "copy of caches",
};
const READERS = new Set(["attention", "attention, split"]); // of keys and values, bound at 1 and 2
const SIZES = /\bconst (head_size|num_heads) : u32 = (\d+);/g; // of the model, in a shader
const ROOMY = 24 << 10; // bytes of workgroup memory, for 32 keys of 32 channels at a time

/**
 * Have a device compute with our kernels; before the first pipeline is made.
 *
 * ONNX Runtime writes other shaders for some vendors, so it is not told the vendor. Every device then has the kernels that were checked.
 * @param {GPUDevice} device
 * @returns {Set<Kernel>} those in use, which grows
 */
export function withKernels(device) {
  /** @type {Set<Kernel>} */
  const used = new Set();
  /** @type {WeakMap<object, Kernel>} of modules and pipelines */
  const kinds = new WeakMap();
  /** @type {WeakMap<GPUPipelineLayout, GPUBindGroupLayout[]>} */
  const layouts = new WeakMap();
  const copies = new Copies(device, kinds, used);
  const { createShaderModule, createComputePipeline, createComputePipelineAsync, createPipelineLayout, createBindGroup, createCommandEncoder } = device;
  const silent = { vendor: "", architecture: "", device: "", description: "", subgroupMinSize: 4, subgroupMaxSize: 128 };
  Object.defineProperty(device, "adapterInfo", { value: silent });
  device.createShaderModule = (descriptor) => {
    const kind = KNOWN[fingerprint(descriptor.code)];
    const code = kind && ours(kind, descriptor.code, device.limits);
    const module = createShaderModule.call(device, code ? { ...descriptor, code } : descriptor);
    if (code || kind === "copy of caches") kinds.set(module, kind);
    if (code) used.add(kind);
    return module;
  };
  /** @param {GPUComputePipeline} pipeline @param {GPUComputePipelineDescriptor} descriptor */
  const made = (pipeline, { compute, layout }) => {
    const kind = kinds.get(compute.module);
    if (!kind) return pipeline;
    kinds.set(pipeline, kind);
    if (kind === "copy of caches" || READERS.has(kind)) copies.watchLayouts(layouts.get(/** @type {GPUPipelineLayout} */ (layout)) ?? []);
    return pipeline;
  };
  device.createPipelineLayout = (descriptor) => {
    const layout = createPipelineLayout.call(device, descriptor);
    layouts.set(layout, /** @type {GPUBindGroupLayout[]} */ ([...descriptor.bindGroupLayouts]));
    return layout;
  };
  device.createComputePipeline = (descriptor) => made(createComputePipeline.call(device, descriptor), descriptor);
  device.createComputePipelineAsync = async (descriptor) => made(await createComputePipelineAsync.call(device, descriptor), descriptor);
  device.createBindGroup = (descriptor) => copies.watchGroup(createBindGroup.call(device, descriptor), descriptor);
  device.createCommandEncoder = (descriptor) => {
    const encoder = createCommandEncoder.call(device, descriptor);
    const { beginComputePass } = encoder;
    encoder.beginComputePass = (words) => copies.watchPass(beginComputePass.call(encoder, words));
    return encoder;
  };
  return used;
}

/** What a shader is known by: a hash of its text, whatever the model's sizes are. @param {string} code */
export function fingerprint(code) {
  const text = code.replace(SIZES, "const $1 : u32 = 0;");
  let hash = 0;
  for (let index = 0; index < text.length; index += 1) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

/** Our shader for one of ONNX Runtime's, "" where it stays. @param {Kernel} kind @param {string} theirs @param {GPUSupportedLimits} limits */
function ours(kind, theirs, limits) {
  if (kind === "argmax") return filled(argmax, {});
  if (kind === "skip norm") return filled(skipNorm, {});
  if (kind === "copy of caches") return "";
  const [, tile] = theirs.match(/new_sequence_length \+ (\d+) - 1/) ?? []; // queries of a workgroup
  if (kind === "attention, split") return filled(split, { QUERY_TILE: Number(tile), MOST_QUERIES: Number(tile) < 4 ? 4 : 12 });
  if (kind === "attention, joined") return filled(join, { QUERY_TILE: Number(tile) });
  const { head_size: size, num_heads: heads } = Object.fromEntries([...theirs.matchAll(SIZES)].map(([, name, value]) => [name, Number(value)]));
  if (![16, 32].includes(size)) return ""; // workgroup memory is small
  const roomy = limits.maxComputeWorkgroupStorageSize >= ROOMY;
  return filled(attention, { HEAD_SIZE: size, NUM_HEADS: heads, KEYS_AT_ONCE: roomy ? 32 : 16, THREAD_COUNT: roomy ? 128 : 64 });
}

/**
 * A shader with numbers for names, and "@each" written out: drivers keep an array in registers only where they unroll the loop over it, so
 * there are names instead. "@each i 3: let a$i = b{2 * $i};" becomes three lines, the last "let a2 = b4;".
 * @param {string} code @param {Record<string, number>} numbers
 */
export function filled(code, numbers) {
  const named = Object.entries(numbers).reduce((text, [name, number]) => text.replaceAll(name, String(number)), code);
  const each = /^( *)@each (\w) (\w+): (.*)$/m;
  let text = named;
  for (let found = each.exec(text); found; found = each.exec(text)) {
    const [line, space, index, count, rest] = found;
    const lines = Array.from({ length: size(named, count) }, (_, i) => space + rest.replaceAll(`$${index}`, String(i)));
    text = text.replace(line, () => lines.join("\n"));
  }
  return text.replace(/\{([\d *+]+)\}/g, (_, sum) => String(value(sum)));
}

/** What a number is, or a constant of a shader. @param {string} code @param {string} name @returns {number} */
function size(code, name) {
  const [, sum] = new RegExp(`const ${name}: u32 = ([^;]+);`).exec(code) ?? ["", name];
  return value(sum.replace(/[A-Za-z_]\w*/g, (other) => String(size(code, other))));
}

/** @param {string} sum of numbers with "+", "*" and "/" @returns {number} */
function value(sum) {
  const quotient = (/** @type {string} */ text) => text.split("/").map(Number).reduce((all, divisor) => all / divisor);
  const product = (/** @type {string} */ text) => text.split("*").map(quotient).reduce((all, factor) => all * factor);
  return sum.split("+").map(product).reduce((all, term) => all + term);
}

/**
 * Before attention ONNX Runtime copies keys and values whole, to where new ones would be appended. Ours are in place already, so where our
 * attention follows and reads the copy, it reads what would have been copied, and nothing is. Any other follower finds the copy made.
 */
class Copies {
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
