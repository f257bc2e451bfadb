/**
 * Recorded runs. ONNX Runtime can record what a session dispatches and play it again ("graph capture"), for a sixth of the JavaScript (and
 * once it has, we can, for less: tape.js), but only over the very buffers of the first run. So a recording has buffers of its own for what
 * goes in and out, which is copied there and back. Tensors that a graph changes in place are too large for that: they move into a home, one
 * set of buffers that several graphs are recorded over, and stay there.
 *
 * What is recorded are dispatches. A copy from buffer to buffer is forgotten without a word (release 1.30: a Reshape whose result is an
 * output, a Scatter into a constant), so a graph that makes one while it is recorded is run as ever.
 */

import * as ort from "onnxruntime-web/webgpu";
import { Copies } from "./copies.js";
import { byteLength, own } from "./gpu_memory.js";
import { listen, play } from "./tape.js";

/** @typedef {import("./inference.js").Handle} Handle */
/** @typedef {import("./inference.js").GraphEntry} GraphEntry */
/** @typedef {import("./gpu_memory.js").GpuMemory} GpuMemory */
/** @typedef {import("onnxruntime-web/webgpu").InferenceSession} InferenceSession */
/** @typedef {import("onnxruntime-web/webgpu").Tensor} Tensor */
/** @typedef {Record<string, Handle>} Handles */

const replay = /** @type {(session: InferenceSession) => Promise<void>} */ (/** @type {any} */ (ort).replay); // web/ort_in_place.mjs
const MOST_COPIED = 4 << 20; // bytes that go in; copying more costs a small GPU what it saves,
const MOST_COPIED_IN_PLACE = 32 << 20; // but for a step's hundred dispatches, whose larger tensors ONNX Runtime else makes anew at each run
const MOST_FREE = 2 ** 28; // bytes of homes that nobody lives in, kept for the next video
const MOST_HOMELESS = 32;

/** A session and the buffers that it was recorded over. */
class Recording {
  /** @type {Map<string, Handle>} */
  inputs = new Map();
  /** @type {Map<string, Handle>} what each input was copied from; a tensor never changes, but those in place */
  fed = new Map();
  /** @type {Map<string, Tensor>} ONNX Runtime's, the same at every run */
  outputs = new Map();
  /** @type {import("./tape.js").Step[] | null} what a run dispatches, once it was played */
  steps = null;

  /** @param {InferenceSession} session @param {GraphEntry} entry @param {GpuMemory} memory */
  constructor(session, entry, memory) {
    this.session = session;
    this.entry = entry;
    this.memory = memory;
  }

  /** @param {Handles} feeds @returns {Promise<Handles | null>} null where the run cannot be recorded */
  async run(feeds) {
    if (this.steps) return this.play(feeds, this.steps);
    const { device } = this.memory;
    const encoder = device.createCommandEncoder();
    this.#feed(feeds, encoder);
    device.queue.submit([encoder.finish()]);
    if (this.outputs.size) this.steps = await this.#heard();
    else if (!(await this.#record(feeds))) return null;
    const after = device.createCommandEncoder();
    const outputs = this.#copied(feeds, after);
    device.queue.submit([after.finish()]);
    return outputs;
  }

  /** A run, at once. @param {Handles} feeds @param {import("./tape.js").Step[]} steps */
  play(feeds, steps) {
    const encoder = this.memory.device.createCommandEncoder();
    this.#feed(feeds, encoder);
    play(encoder, steps);
    const outputs = this.#copied(feeds, encoder);
    this.memory.device.queue.submit([encoder.finish()]);
    return outputs;
  }

  /** Bring what goes in to where it was recorded. @param {Handles} feeds @param {GPUCommandEncoder} encoder */
  #feed(feeds, encoder) {
    for (const name of this.session.inputNames) {
      const handle = feeds[name];
      if (this.entry.in_place.includes(name) || this.fed.get(name) === handle) continue;
      let place = this.inputs.get(name);
      if (!place) this.inputs.set(name, (place = this.memory.fresh(handle.dtype, handle.dims)));
      this.fed.set(name, handle);
      copy(encoder, handle, place);
    }
  }

  /** Have ONNX Runtime play it, once. */
  #heard() {
    const listening = () => listen(() => replay(this.session));
    return Copies.of(this.memory.device)?.without(listening) ?? listening();
  }

  /** @param {Handles} feeds @returns {Promise<boolean>} whether all of it can be played again */
  async #record(feeds) {
    /** @type {Record<string, Tensor>} */
    const inputs = {};
    for (const name of this.session.inputNames) inputs[name] = /** @type {any} */ ((this.inputs.get(name) ?? feeds[name]).tensor);
    /** @type {Record<string, Tensor | null>} */
    const fetches = {};
    for (const name of this.entry.outputs) fetches[name] = null;
    for (const name of this.entry.in_place) fetches[`next.${name}`] = /** @type {any} */ (feeds[name].tensor);
    const { value: results, copies } = await countingCopies(() => this.session.run(inputs, fetches));
    for (const name of this.entry.outputs) if (!fetches[name]) this.outputs.set(name, results[name]);
    return copies === 0;
  }

  /** What the run gave, in tensors of its own. @param {Handles} feeds @param {GPUCommandEncoder} encoder */
  #copied(feeds, encoder) {
    /** @type {Handles} */
    const outputs = {};
    for (const name of this.entry.outputs) {
      const tensor = this.outputs.get(name);
      if (tensor) {
        const from = { dtype: /** @type {"float32"} */ (tensor.type), dims: [...tensor.dims], buffer: /** @type {any} */ (tensor.gpuBuffer) };
        outputs[name] = this.memory.fresh(from.dtype, from.dims);
        copy(encoder, from, outputs[name]);
      } else outputs[name] = feeds[name.slice(5)];
    }
    return outputs;
  }

  async close() {
    for (const handle of this.inputs.values()) this.memory.release(handle);
    await this.session.release();
  }
}

/** One set of buffers for tensors in place, and what was recorded over it. */
class Home {
  /** @type {Map<string, Recording>} by graph and all dims: those that are not in place may be others */
  recordings = new Map();
  /** @type {Map<string, Handle>} */
  places = new Map();
  residents = 0; // tensors that live here

  /** @param {string} key */
  constructor(key) {
    this.key = key;
  }

  get bytes() {
    return [...this.places.values()].reduce((sum, handle) => sum + byteLength(handle), 0);
  }
}

/** All recordings of a device. */
export class Recordings {
  /** @type {Home[]} */
  #homes = [];
  /** @type {Map<string, Recording>} of graphs without tensors in place, by graph and dims, in the order of their last use */
  #homeless = new Map();
  /** @type {Set<string>} graphs that cannot be recorded */
  #copying = new Set();

  /** @param {GpuMemory} memory */
  constructor(memory) {
    this.memory = memory;
  }

  /** Sessions that are held. */
  get size() {
    return this.#homes.reduce((sum, { recordings }) => sum + recordings.size, this.#homeless.size);
  }

  /** Whether a graph is worth recording for these feeds. @param {string} graph @param {GraphEntry} entry @param {Handles} feeds */
  suits(graph, entry, feeds) {
    if (this.#copying.has(graph)) return false;
    const copied = Object.keys(entry.inputs).filter((name) => !entry.in_place.includes(name));
    return copied.reduce((sum, name) => sum + byteLength(feeds[name]), 0) <= (entry.in_place.length ? MOST_COPIED_IN_PLACE : MOST_COPIED);
  }

  /**
   * Run a graph, playing what was recorded where it was run before; -> its outputs, an output in place being the handle that was fed, or
   * null for a graph that cannot be recorded.
   * @param {string} graph @param {GraphEntry} entry @param {Handles} feeds @param {string} key of graph and dims
   * @param {() => Promise<InferenceSession>} create
   * @returns {Promise<Handles | null>}
   */
  async run(graph, entry, feeds, key, create) {
    const home = entry.in_place.length ? await this.#home(entry, feeds) : null;
    const known = home?.recordings ?? this.#homeless;
    const recording = known.get(key) ?? new Recording(await create(), entry, this.memory);
    known.delete(key); // and in again, as the latest
    known.set(key, recording);
    if (!home) await this.#tidyHomeless();
    const outputs = await recording.run(feeds);
    if (outputs) return outputs;
    this.#copying.add(graph);
    known.delete(key);
    await recording.close();
    return null;
  }

  /**
   * Run a graph at once, which only one can be that was played before and changes nothing in place; -> its outputs, else undefined.
   * @param {Handles} feeds @param {string} key of graph and dims
   */
  play(feeds, key) {
    const recording = this.#homeless.get(key);
    if (!recording?.steps) return undefined;
    this.#homeless.delete(key); // and in again, as the latest
    this.#homeless.set(key, recording);
    return recording.play(feeds, recording.steps);
  }

  async close() {
    for (const home of [...this.#homes]) await this.#leave(home);
    for (const recording of this.#homeless.values()) await recording.close();
    this.#homeless.clear();
  }

  /** Where the tensors in place live from now on: where some of them do already, a free home, or a new one of their own buffers. @param {GraphEntry} entry @param {Handles} feeds */
  async #home(entry, feeds) {
    const found = entry.in_place.map((name) => /** @type {Home | undefined} */ (feeds[name].home)).find(Boolean);
    const key = JSON.stringify(entry.in_place.map((name) => [name, feeds[name].dims]));
    const home = found ?? this.#homes.find((each) => each.key === key && !each.residents) ?? (await this.#build(key));
    const moving = entry.in_place.filter((name) => feeds[name].home !== home);
    if (!moving.length) return home;
    this.#homes.push(...this.#homes.splice(this.#homes.indexOf(home), 1)); // the latest
    const encoder = this.memory.device.createCommandEncoder();
    const left = moving.map((name) => this.#moveIn(home, name, feeds[name], encoder));
    this.memory.device.queue.submit([encoder.finish()]);
    for (const handle of left) if (handle) this.memory.release(handle);
    return home;
  }

  /** @param {string} key */
  async #build(key) {
    let free = this.#homes.filter(({ residents }) => !residents);
    while (free.length && free.reduce((sum, { bytes }) => sum + bytes, 0) > MOST_FREE) {
      await this.#leave(free[0]); // the one that was left first
      free = free.slice(1);
    }
    const home = new Home(key);
    this.#homes.push(home);
    return home;
  }

  /** @param {Home} home @param {string} name @param {Handle} handle @param {GPUCommandEncoder} encoder @returns {Handle | null} the buffer that it leaves */
  #moveIn(home, name, handle, encoder) {
    const place = home.places.get(name);
    const before = this.memory.share(handle);
    if (place) {
      copy(encoder, handle, place);
      Object.assign(handle, { tensor: place.tensor, buffer: place.buffer });
    } else home.places.set(name, before);
    handle.home = home;
    home.residents += 1;
    return place ? before : null;
  }

  /** @param {Home} home */
  async #leave(home) {
    this.#homes.splice(this.#homes.indexOf(home), 1);
    for (const recording of home.recordings.values()) await recording.close();
    for (const handle of home.places.values()) this.memory.release(handle);
  }

  async #tidyHomeless() {
    while (this.#homeless.size > MOST_HOMELESS) {
      const [oldest] = this.#homeless.keys();
      await this.#homeless.get(oldest)?.close();
      this.#homeless.delete(oldest);
    }
  }
}

/**
 * Have ONNX Runtime do something, and count the copies from buffer to buffer that it asks of the GPU; reads of ours may go on meanwhile.
 * @template T
 * @param {() => Promise<T>} work
 */
async function countingCopies(work) {
  const { prototype } = GPUCommandEncoder;
  const method = prototype.copyBufferToBuffer;
  const before = own.copies;
  let copies = 0;
  prototype.copyBufferToBuffer = /** @this {GPUCommandEncoder} @param {any[]} words */ function (...words) {
    copies += 1;
    return /** @type {any} */ (method).apply(this, words);
  };
  try {
    const value = await work();
    return { value, copies: copies - (own.copies - before) };
  } finally {
    prototype.copyBufferToBuffer = method;
  }
}

/** @param {GPUCommandEncoder} encoder @param {Pick<Handle, "dtype" | "dims" | "buffer">} from @param {Handle} to */
function copy(encoder, from, to) {
  // The GPU would say so elsewhere, and drop the whole submission.
  if (byteLength(from) !== byteLength(to)) throw new Error(`a tensor of [${from.dims}] does not go into one of [${to.dims}]`);
  own.copies += 1;
  encoder.copyBufferToBuffer(/** @type {GPUBuffer} */ (from.buffer), 0, /** @type {GPUBuffer} */ (to.buffer), 0, (byteLength(from) + 3) & ~3);
}
