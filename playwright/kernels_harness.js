/**
 * Our kernels on a device of their own, beside the same arithmetic in doubles; bundled and run in a page by test_kernels.py. Each function
 * gives the greatest difference.
 */

import { Copies } from "../web/worker/copies.js";
import { ours } from "../web/worker/kernels.js";

const [STORAGE, UNIFORM] = [0x80 | 4 | 8, 0x40 | 8];
const HIDDEN = -1e30;

/** @type {GPUDevice} */
let device;
/** @type {string[]} */
const faults = [];

/** A device whose workgroups have so much memory. @param {number} storage bytes */
async function open(storage) {
  const adapter = await navigator.gpu.requestAdapter();
  device = await adapter.requestDevice({ requiredLimits: { maxComputeWorkgroupStorageSize: storage } });
  device.addEventListener("uncapturederror", ({ error }) => faults.push(error.message));
}

/** Numbers between -1 and 1, the same every time. @param {number} count @param {number} seed */
function numbers(count, seed) {
  let state = seed;
  return Float32Array.from({ length: count }, () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) / 2 ** 31 - 1);
}

/** @param {ArrayBufferView | number} content or bytes */
function buffer(content, usage = STORAGE) {
  const size = typeof content === "number" ? content : content.byteLength;
  const made = device.createBuffer({ size: Math.max(16, (size + 15) & ~15), usage });
  if (typeof content !== "number") device.queue.writeBuffer(made, 0, content);
  return made;
}

/** Uniforms in order: whole numbers, and floats as {f}. @param {(number | {f: number})[]} values */
function uniforms(values) {
  const bytes = new DataView(new ArrayBuffer(4 * values.length));
  values.forEach((value, index) => (typeof value === "number" ? bytes.setUint32(4 * index, value, true) : bytes.setFloat32(4 * index, value.f, true)));
  return buffer(bytes, UNIFORM);
}

/** @param {string} code @param {GPUBuffer[]} buffers by binding @param {number} groups */
function dispatch(code, buffers, groups) {
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module: device.createShaderModule({ code }) } });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: buffers.map((each, binding) => ({ binding, resource: { buffer: each } })) }));
  pass.dispatchWorkgroups(groups);
  pass.end();
  device.queue.submit([encoder.finish()]);
}

/** @param {GPUBuffer} from @param {any} Type @param {number} count */
async function read(from, Type, count) {
  const staging = device.createBuffer({ size: from.size, usage: 1 | 8 });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(from, 0, staging, 0, from.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(1);
  if (faults.length) throw new Error(faults.splice(0).join("; "));
  return new Type(staging.getMappedRange().slice(0)).subarray(0, count);
}

/** @param {ArrayLike<number>} found @param {ArrayLike<number>} wanted */
function difference(found, wanted) {
  let most = 0;
  for (let index = 0; index < wanted.length; index += 1) most = Math.max(most, Math.abs(found[index] - wanted[index]) || (Number.isNaN(found[index]) ? Infinity : 0));
  return most;
}

/** softmax(q · k + bias) · v, in doubles. */
function attended({ batch, heads, queries, keys, size, q, k, v, bias }) {
  const out = new Float64Array(batch * queries * heads * size);
  for (let b = 0; b < batch; b += 1)
    for (let h = 0; h < heads; h += 1)
      for (let i = 0; i < queries; i += 1) {
        const row = ((b * queries + i) * heads + h) * size;
        const at = (b * heads + h) * keys;
        const scores = Float64Array.from({ length: keys }, (_, j) => {
          let sum = bias[(b * queries + i) * keys + j];
          for (let c = 0; c < size; c += 1) sum += q[row + c] * k[(at + j) * size + c];
          return sum;
        });
        const top = scores.reduce((most, score) => Math.max(most, score));
        const weights = scores.map((score) => Math.exp(score - top));
        const total = weights.reduce((sum, weight) => sum + weight);
        for (let j = 0; j < keys; j += 1) for (let c = 0; c < size; c += 1) out[row + c] += (weights[j] / total) * v[(at + j) * size + c];
      }
  return out;
}

/** What attention is given: keys that nobody sees at the end and here and there, and then each query sees one more than the one before. */
function given({ batch, heads, queries, keys, used, size }) {
  const bias = new Float32Array(batch * queries * keys);
  for (let b = 0; b < batch; b += 1)
    for (let i = 0; i < queries; i += 1)
      for (let j = 0; j < keys; j += 1) bias[(b * queries + i) * keys + j] = j > used - queries + i || (j % 13 === b && j < used - queries) ? HIDDEN : 0;
  const tensor = (/** @type {number} */ rows, /** @type {number} */ seed) => numbers(batch * heads * rows * size, seed).map((value) => 2 * value);
  // What nobody sees may be anything that is finite.
  const cache = (/** @type {number} */ seed) => tensor(keys, seed).map((value, index) => (Math.floor(index / size) % keys > used ? 1e20 : value));
  return { batch, heads, queries, keys, size, q: tensor(queries, 1), k: cache(2), v: cache(3), bias };
}

/** @param {{batch: number, heads: number, queries: number, keys: number, used: number, size: number}} shape */
async function attention(shape) {
  const all = given(shape);
  const { batch, heads, queries, keys, size } = all;
  const theirs = `const head_size : u32 = ${size};\nconst num_heads : u32 = ${heads};`;
  const tiles = Math.ceil(queries / 64);
  const out = buffer(all.q.byteLength);
  const numbersOf = uniforms([queries, keys, keys, batch, 1, { f: 1 }, tiles, batch, 1, keys, 0]);
  dispatch(ours("attention", theirs, device.limits), [buffer(all.q), buffer(all.k), buffer(all.v), buffer(all.bias), out, numbersOf], batch * heads * tiles);
  return difference(await read(out, Float32Array, all.q.length), attended(all));
}

/** @param {{batch: number, heads: number, queries: number, keys: number, used: number, tile: number}} shape */
async function split({ tile, ...shape }) {
  const all = given({ ...shape, size: 32 });
  const { batch, heads, queries, keys } = all;
  const theirs = `uniforms.new_sequence_length + ${tile} - 1`;
  const runs = Math.ceil(keys / 64);
  const [parts, metadata, out] = [buffer(all.q.byteLength * runs), buffer(8 * batch * heads * queries * runs), buffer(all.q.byteLength)];
  const tiles = batch * heads * Math.ceil(queries / tile);
  const splitting = uniforms([8, keys, { f: 1 }, keys, 1, runs, heads, batch, batch, 1, keys, queries]);
  dispatch(ours("attention, split", theirs, device.limits), [buffer(all.q), buffer(all.k), buffer(all.v), buffer(all.bias), parts, metadata, splitting], tiles * runs);
  dispatch(ours("attention, joined", theirs, device.limits), [parts, metadata, out, uniforms([8, runs, runs, 1, batch * heads, queries, heads])], tiles);
  return difference(await read(out, Float32Array, all.q.length), attended(all));
}

/** @param {{rows: number, width: number}} shape */
async function argmax({ rows, width }) {
  const values = numbers(rows * width, 7).map((value) => Math.round(4 * value)); // with many equals
  const out = buffer(8 * rows);
  dispatch(ours("argmax", "", device.limits), [buffer(values), out, uniforms([rows, 1, width, 0, width, width, 0, 0, rows, 1, 1, 0, 1, 1, rows, 0, width])], Math.ceil(rows / 64));
  const wanted = Array.from({ length: rows }, (_, row) => {
    const own = values.subarray(row * width, (row + 1) * width);
    return own.indexOf(own.reduce((most, value) => Math.max(most, value)));
  });
  return difference(await read(out, Uint32Array, 2 * rows), wanted.flatMap((index) => [index, 0]));
}

/** @param {{rows: number, width: number}} shape */
async function skipNorm({ rows, width }) {
  const [x, skip, gamma] = [numbers(rows * width, 1), numbers(rows * width, 2), numbers(width, 3)];
  const [out, sums] = [buffer(x.byteLength), buffer(x.byteLength)];
  const numbersOf = uniforms([4, width, { f: 1e-5 }, rows * width]);
  dispatch(ours("skip norm", "", device.limits), [buffer(x), buffer(skip), buffer(gamma), out, sums, numbersOf], rows);
  const total = x.map((value, index) => value + skip[index]);
  const wanted = Array.from(total, (value, index) => {
    const row = total.subarray(Math.floor(index / width) * width, (Math.floor(index / width) + 1) * width);
    return (value / Math.sqrt(row.reduce((sum, each) => sum + each * each, 0) / width + 1e-5)) * gamma[index % width];
  });
  return Math.max(difference(await read(sums, Float32Array, x.length), total), difference(await read(out, Float32Array, x.length), wanted));
}

const COPY = `@group(0) @binding(0) var<storage, read> k: array<f32>; @group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read_write> to_k: array<f32>; @group(0) @binding(3) var<storage, read_write> to_v: array<f32>;
@compute @workgroup_size(1) fn main() { for (var i = 0; i < 4; i++) { to_k[i] = k[i]; to_v[i] = v[i]; } }`;
const READ = `@group(0) @binding(1) var<storage, read> k: array<f32>; @group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
@compute @workgroup_size(1) fn main() { for (var i = 0; i < 4; i++) { sums[i] = k[i] + v[i]; } }`;

/**
 * A copy, and what follows it; -> what the follower read, what lies where the copy goes, and whether that memory was given back.
 * @param {"attention" | "attention, others read the copy" | "another" | "nothing" | "attention elsewhere"} follower
 */
async function copied(follower) {
  /** @type {WeakMap<object, any>} */
  const kinds = new WeakMap();
  const copies = new Copies(device, kinds, new Set());
  const [keys, values, toKeys, toValues, sums] = [buffer(Float32Array.of(1, 2, 3, 4)), buffer(Float32Array.of(10, 20, 30, 40)), buffer(16), buffer(16), buffer(16)];
  let given = false;
  toKeys.destroy = () => (given = true);
  const pipelineOf = (/** @type {string} */ code, /** @type {string} */ kind) => {
    const pipeline = device.createComputePipeline({ layout: "auto", compute: { module: device.createShaderModule({ code }) } });
    if (kind) kinds.set(pipeline, kind);
    return { pipeline, layout: pipeline.getBindGroupLayout(0) };
  };
  const bound = (/** @type {GPUBindGroupLayout} */ layout, /** @type {Record<number, GPUBuffer>} */ buffers) => {
    const descriptor = { layout, entries: Object.entries(buffers).map(([binding, each]) => ({ binding: Number(binding), resource: { buffer: each } })) };
    return copies.watchGroup(device.createBindGroup(descriptor), descriptor);
  };
  const copy = pipelineOf(COPY, "copy of caches");
  const reader = pipelineOf(READ, follower.startsWith("attention") ? "attention" : "");
  const reading = bound(reader.layout, { 1: follower === "attention elsewhere" ? keys : toKeys, 2: toValues, 4: sums });
  await copies.without(async () => {
    const encoder = device.createCommandEncoder();
    const pass = copies.watchPass(encoder.beginComputePass());
    pass.setPipeline(copy.pipeline);
    pass.setBindGroup(0, bound(copy.layout, { 0: keys, 1: values, 2: toKeys, 3: toValues }));
    pass.dispatchWorkgroups(1);
    if (follower !== "nothing") {
      pass.setPipeline(reader.pipeline);
      pass.setBindGroup(0, reading);
      pass.dispatchWorkgroups(1);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    return follower === "attention, others read the copy" ? [{ pipeline: reader.pipeline, groups: [reading], sizes: [1] }] : [];
  });
  return { read: [...(await read(sums, Float32Array, 4))], copy: [...(await read(toKeys, Float32Array, 4))], given };
}

Object.assign(globalThis, { kernels: { open, attention, split, argmax, skipNorm, copied } });
