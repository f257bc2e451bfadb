/**
 * ONNX Runtime Web: the one module that imports it. Runs graphs by name, on WebGPU or in WASM.
 *
 * What a graph needs is in the manifest: names, dims by name, what is written in place, which weights. Nothing here knows what a graph
 * computes. Never two calls of ONNX Runtime at once: overlapping runs hang for ever without an error, so every one goes through `exclusive`.
 */

import * as ort from "onnxruntime-web/webgpu";
import { GpuMemory } from "./gpu_memory.js";
import { HostMemory } from "./host_memory.js";
import { Loops } from "./loops.js";
import { Recordings } from "./recordings.js";
import { Cancelled, classified } from "./trouble.js";
import { breathe, busy, exclusive } from "./turns.js";

/**
 * A tensor of either memory; Python holds it and never looks inside.
 * @typedef {object} Handle
 * @property {"float32" | "int32" | "uint8"} dtype
 * @property {number[]} dims
 * @property {ort.Tensor} tensor what ONNX Runtime is fed
 * @property {GPUBuffer | null} buffer
 * @property {boolean} owned whether the buffer is ours (else ONNX Runtime's)
 * @property {{residents: number} | null} [home] whose buffer it is, where it only lives there (recordings.js)
 */

/** @typedef {Record<string, Handle>} Handles */
/** @typedef {import("./loops.js").Begun} Begun */
/** @typedef {{file: string, sha256: string, inputs: Record<string, {dtype: string, shape: (number | string)[]}>, outputs: string[], in_place: string[], weights: string[]}} GraphEntry */
/** @typedef {{graphs: Record<string, GraphEntry>}} Manifest */
/** @typedef {{dtype: string, dims: number[], data: Uint8Array}} Numbers */

const PENDING = 64; // dispatches to a submission, which costs as much as several of them
const ALL_PENDING = 1024; // of a recording: all, so that kernels.js sees what follows a copy
const ROOMY = 2 ** 30; // bytes of a tensor: a device that allows them has memory of its own
const MOST_SESSIONS = 96; // a session fixes its shapes and holds its own weights, so those not used for longest go

/**
 * Where ONNX Runtime finds its WebAssembly, before the first session; it cannot be changed after.
 * @param {"jspi" | "asyncify" | "plain"} build
 * @param {URL} base folder of the runtime's files
 * @param {number} threads
 */
export function configure(build, base, threads) {
  const name = build === "plain" ? "ort-wasm-simd-threaded" : `ort-wasm-simd-threaded.${build}`;
  ort.env.wasm.wasmPaths = { mjs: new URL(`${name}.mjs`, base).href, wasm: new URL(`${name}.wasm`, base).href };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
}

/** The release of ONNX Runtime. */
export const version = ort.env.versions.web ?? ort.env.versions.common;

const LOSS_MS = 200; // that a lost device is waited for, to be told

/** Have ONNX Runtime load its WebAssembly, with some small graph. @param {Uint8Array} graph */
export function warmUp(graph) {
  return exclusive(async () => {
    await (await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] })).release();
  });
}

/** Graphs and weights of one model on one device. */
export class Inference {
  /**
   * @param {Manifest} manifest
   * @param {Map<string, Uint8Array>} graphs ONNX files by graph name
   * @param {(name: string) => Float32Array} weight a tensor of the checkpoint
   * @param {GPUDevice | null} device null: WASM
   * @param {boolean} strict whether a node that falls back to the CPU is an error, and the GPU's validation is on
   * @param {boolean} recorded whether runs on the GPU may be recorded
   */
  constructor(manifest, graphs, weight, device, strict = false, recorded = true) {
    this.manifest = manifest;
    this.graphs = graphs;
    this.weight = weight;
    this.device = device;
    this.strict = strict;
    this.memory = device ? new GpuMemory(device) : new HostMemory();
    this.recordings = recorded && this.memory instanceof GpuMemory ? new Recordings(this.memory) : null;
    /** @type {Map<string, ort.InferenceSession>} in the order of their last use */
    this.sessions = new Map();
    this.loops = new Loops(this, (graph, feeds) => exclusive(() => this.#run(graph, feeds)));
    /** Set to have a loop end at its next block, with Cancelled. */
    this.cancelled = false;
    this.runs = 0;
    /** @type {Error | null} what every further call fails with */
    this.failure = null;
    /** @type {Error | null} what the next call fails with: there was no memory for something */
    this.shortage = null;
    this.closed = false;
    /** @type {Promise<unknown> | null} what WASM, which fills the worker, waits for: that the canvases have been shown */
    this.picture = null;
  }

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @param {Uint8Array} bytes @returns {Handle} */
  upload(dtype, dims, bytes) {
    this.#check();
    return this.memory.upload(dtype, dims, bytes);
  }

  /** @param {"float32" | "int32" | "uint8"} dtype @param {number[]} dims @returns {Handle} */
  zeros(dtype, dims) {
    this.#check();
    return this.memory.zeros(dtype, dims);
  }

  /** @param {Handle[]} handles */
  release(handles) {
    if (this.closed) return; // what was theirs went with the memory
    for (const handle of handles) this.memory.release(handle);
  }

  /** What it keeps, for a report. */
  get held() {
    return { sessions: this.sessions.size, recordings: this.recordings?.size ?? 0, tensors: this.live };
  }

  /** Limits of the Python package: what a batch of tiles may take, in bytes. */
  get limits() {
    if (!this.device) return { memory: 2 ** 31, tensor: 2 ** 31, wholeWindows: false, sideBySide: false };
    const tensor = Math.min(this.device.limits.maxBufferSize, this.device.limits.maxStorageBufferBindingSize);
    return { memory: tensor < ROOMY ? 2 ** 30 : 2 ** 32, tensor, wholeWindows: true, sideBySide: true };
  }

  /** Tensors that are held. */
  get live() {
    return this.memory.live;
  }

  /**
   * Copy tensors to the host, in one round trip.
   * @param {Handle[]} handles @returns {Promise<Numbers[]>}
   */
  read(handles) {
    return this.#guarded(() => this.memory.read(handles));
  }

  /**
   * Run a graph once; -> its outputs by name. An output in place is the handle that was fed.
   * @param {string} graph @param {Record<string, Handle>} feeds @returns {Promise<Record<string, Handle>>}
   */
  run(graph, feeds) {
    return this.#guarded(() => exclusive(() => this.#run(graph, feeds)));
  }

  /**
   * Run a graph once without being awaited, which costs Python more than most graphs; undefined where that cannot be.
   * @param {string} graph @param {Record<string, Handle>} feeds @returns {Record<string, Handle> | undefined}
   */
  runNow(graph, feeds) {
    if (!this.recordings || busy()) return undefined; // somebody may be listening to ONNX Runtime
    this.#check();
    const entry = this.manifest.graphs[graph];
    const outputs = this.recordings.play(feeds, keyOf(graph, dimsByName(entry, feeds)));
    if (outputs) this.runs += 1;
    return outputs;
  }

  /**
   * Begin to run `first`, then `then` until the output `flag` is not 0, `limit` runs at most; as Ahead.begin of the Python package.
   * @param {string} first @param {string} then @param {Handles} feeds @param {Handles} state
   * @param {string[]} collect @param {string} flag @param {number} limit
   * @returns {Promise<Begun>}
   */
  begin(first, then, feeds, state, collect, flag, limit) {
    return this.#guarded(() => this.loops.begin(first, then, feeds, state, collect, flag, limit));
  }

  /** @param {Begun} begun @returns {Promise<Numbers[][] | undefined>} what a loop collected that ended as expected */
  known(begun) {
    return this.#guarded(() => this.loops.known(begun));
  }

  /** @param {Begun} begun @returns {Promise<{state: Handles, collected: Numbers[][]}>} collected: by run, in the order of `collect` */
  finish(begun) {
    return this.#guarded(() => this.loops.finish(begun));
  }

  /** Give back what a loop made, but not what it was given. @param {Begun} begun */
  abandon(begun) {
    if (!this.closed) this.loops.abandon(begun);
  }

  /** Release every session; tensors are their holders'. */
  async close() {
    await exclusive(async () => {
      this.closed = true;
      await this.recordings?.close(); // whose tensors may be other sessions'
      for (const session of this.sessions.values()) await session.release();
      this.sessions.clear();
      this.memory.close();
    });
  }

  /**
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async #guarded(work) {
    this.#check();
    try {
      const result = await work();
      this.#check(); // a lost device or a failed allocation is told beside the call that met it
      return result;
    } catch (error) {
      const known = classified(error);
      if (known.name === "DeviceLost") this.failure ??= known;
      else if (known.name !== "Cancelled" && known.name !== "OutOfMemory") await this.#loss();
      throw this.failure ?? known;
    }
  }

  /** A lost device may be told a moment after the call that it broke, whose own error then says little. */
  async #loss() {
    if (this.device) await Promise.race([this.device.lost, new Promise((resolve) => setTimeout(resolve, LOSS_MS))]);
  }

  #check() {
    if (this.failure) throw this.failure;
    if (this.shortage) {
      const shortage = this.shortage;
      this.shortage = null;
      throw shortage;
    }
    if (this.closed) throw new Cancelled("the model was replaced");
  }

  /** @param {string} graph @param {Record<string, Handle>} feeds */
  async #run(graph, feeds) {
    this.#check(); // others had their turn meanwhile
    const entry = this.manifest.graphs[graph];
    this.runs += 1;
    const dims = this.device ? dimsByName(entry, feeds) : {};
    const key = keyOf(graph, dims);
    if (this.recordings?.suits(graph, entry, feeds)) {
      const played = await this.recordings.run(graph, entry, feeds, key, () => this.#create(graph, entry, dims, true));
      if (played) return played;
    }
    const session = await this.#session(graph, entry, dims, key);
    /** @type {Record<string, Handle>} */
    const outputs = {};
    if (!this.device) {
      const picture = this.picture;
      this.picture = null;
      await (picture ?? breathe());
      for (const name of entry.in_place) this.memory.pin(feeds[name]);
    }
    /** @type {Record<string, ort.Tensor>} */
    const inputs = {};
    for (const name of session.inputNames) inputs[name] = feeds[name].tensor;
    /** @type {Record<string, ort.Tensor | null>} */
    const fetches = {};
    for (const name of entry.outputs) fetches[name] = null;
    for (const name of entry.in_place) fetches[`next.${name}`] = feeds[name].tensor;
    const results = await session.run(inputs, fetches);
    for (const name of entry.outputs) outputs[name] = fetches[name] ? feeds[name.slice(5)] : this.memory.adopt(results[name]);
    return outputs;
  }

  /** @param {string} graph @param {GraphEntry} entry @param {Record<string, number>} dims @param {string} key of graph and dims */
  async #session(graph, entry, dims, key) {
    let session = this.sessions.get(key);
    if (session) {
      this.sessions.delete(key); // and in again, as the latest
    } else {
      session = await this.#create(graph, entry, dims);
    }
    this.sessions.set(key, session);
    if (this.sessions.size > MOST_SESSIONS) {
      const [oldest] = this.sessions.keys();
      await this.sessions.get(oldest)?.release();
      this.sessions.delete(oldest);
    }
    return session;
  }

  /** @param {string} graph @param {GraphEntry} entry @param {Record<string, number>} dims @param {boolean} recorded */
  #create(graph, entry, dims, recorded = false) {
    return ort.InferenceSession.create(/** @type {Uint8Array} */ (this.graphs.get(graph)), this.#options(entry, dims, recorded));
  }

  /** @param {GraphEntry} entry @param {Record<string, number>} dims @param {boolean} recorded @returns {ort.InferenceSession.SessionOptions} */
  #options(entry, dims, recorded) {
    const shared = {
      externalData: entry.weights.map((name) => ({ path: name, data: new Uint8Array(this.weight(name).buffer) })),
      logSeverityLevel: /** @type {3} */ (3),
    };
    if (!this.device) return { ...shared, executionProviders: ["wasm"] };
    return {
      ...shared,
      executionProviders: [
        /** @type {any} */ ({
          name: "webgpu",
          device: this.device,
          preferredLayout: "NCHW",
          validationMode: this.strict ? "basic" : "disabled",
          maxNumPendingDispatches: recorded ? ALL_PENDING : PENDING,
        }),
      ],
      freeDimensionOverrides: dims,
      enableGraphCapture: recorded,
      preferredOutputLocation: Object.fromEntries(entry.outputs.map((name) => [name, "gpu-buffer"])),
      ...(this.strict ? { extra: { session: { disable_cpu_ep_fallback: "1" } } } : {}),
    };
  }
}

/** What a session or a recording is known by. @param {string} graph @param {Record<string, number>} dims */
function keyOf(graph, dims) {
  return graph + JSON.stringify(dims);
}

/**
 * The sizes that the graph's named dims have in these feeds.
 * @param {GraphEntry} entry @param {Record<string, Handle>} feeds
 */
function dimsByName(entry, feeds) {
  /** @type {Record<string, number>} */
  const dims = {};
  for (const [name, { shape }] of Object.entries(entry.inputs)) {
    shape.forEach((dim, axis) => {
      if (typeof dim === "string") dims[dim] = feeds[name].dims[axis];
    });
  }
  return dims;
}
