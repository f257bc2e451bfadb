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
import { Copies } from "./copies.js";
import { filled, fingerprint, sizesIn } from "./shader_text.js";

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
  const copies = new Copies(device, kinds, used);
  const { createShaderModule, createComputePipeline, createComputePipelineAsync, createBindGroup, createCommandEncoder } = device;
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
  const made = (pipeline, { compute }) => {
    const kind = kinds.get(compute.module);
    if (kind) kinds.set(pipeline, kind);
    return pipeline;
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

/** Our shader for one of ONNX Runtime's, "" where it stays. @param {Kernel} kind @param {string} theirs @param {GPUSupportedLimits} limits */
export function ours(kind, theirs, limits) {
  if (kind === "argmax") return filled(argmax, {});
  if (kind === "skip norm") return filled(skipNorm, {});
  if (kind === "copy of caches") return "";
  const [, tile] = theirs.match(/new_sequence_length \+ (\d+) - 1/) ?? []; // queries of a workgroup
  if (kind === "attention, split") return filled(split, { QUERY_TILE: Number(tile), MOST_QUERIES: Number(tile) < 4 ? 4 : 12 });
  if (kind === "attention, joined") return filled(join, { QUERY_TILE: Number(tile) });
  const { head_size: size, num_heads: heads } = sizesIn(theirs);
  if (![16, 32].includes(size)) return ""; // workgroup memory is small
  const roomy = limits.maxComputeWorkgroupStorageSize >= ROOMY;
  return filled(attention, { HEAD_SIZE: size, NUM_HEADS: heads, KEYS_AT_ONCE: roomy ? 32 : 16, THREAD_COUNT: roomy ? 128 : 64 });
}
