/** What computes: Python, the device, the model. Starts them, tests the device, and starts anew when the device is lost. */

import { Assets } from "./assets.js";
import { REASONS, adapterName, findDevice } from "./gpu.js";
import { Inference, configure, version, warmUp } from "./inference.js";
import { withKernels } from "./kernels.js";
import { PYTHON_FILES, answer, startPython } from "./python.js";
import { DeviceLost, OutOfMemory } from "./trouble.js";

/** @typedef {import("../shared/messages.js").Backend} Backend */
/** @typedef {import("../shared/messages.js").ModelInfo} ModelInfo */
/** @typedef {import("../shared/messages.js").News} News */
/** @typedef {Record<string, Uint8Array>} Files */
/** @typedef {{manifest: Uint8Array, graphs: Map<string, Uint8Array>, files: Files}} BuiltIn */

const MODEL = "models/default/";
const CHECKPOINT_FILES = ["config.json", "preprocessor_config.json", "model.safetensors"];
const MOST_THREADS = 4; // more wait for each other
const LOSSES = 2; // of the device, before the work goes on in WASM

export class Engine {
  /** @type {any} the Python module */
  python = null;
  /** @type {any} Python's OpenModel */
  model = null;
  /** @type {any} Python's BrowserRuntime */
  runtime = null;
  /** @type {Inference | null} */
  inference = null;
  /** @type {GPUDevice | null} */
  device = null;
  /** @type {Backend} */
  backend = { kind: "wasm", name: "", reason: "", explanation: "", build: "plain", threads: 1, adapter: null };
  /** @type {ModelInfo | null} */
  modelInfo = null;
  /** @type {BuiltIn | null} */
  #builtIn = null;
  #losses = 0;
  /** @type {Record<string, number>} milliseconds of the start, by what took them */
  times = {};
  /** What the self-test found where that is not what it should be. */
  selfTest = "";
  /** Whether the device computes with kernels of ours where it can. */
  ownKernels = true;
  /** @type {Set<string>} those in use */
  kernels = new Set();
  /** Whether runs on the device are recorded. */
  recorded = true;
  /** @type {Record<string, number>} limits that the device is lowered to, to be as tight as another */
  limits = {};

  /**
   * @param {(news: News) => void} post
   * @param {"auto" | "webgpu" | "wasm"} wish
   * @param {boolean} strict whether a node on the CPU is an error
   * @param {(device: GPUDevice | null) => void} onDevice where tensors are from now on
   */
  constructor(post, wish, strict, onDevice) {
    this.post = post;
    this.onDevice = onDevice;
    this.wish = wish;
    this.strict = strict;
    let phase = "Loading";
    this.assets = new Assets(new URL("./", self.location.href), (progress) => post({ type: "loading", phase, ...progress }));
    /** @param {string} name */
    this.phase = (name) => {
      phase = name;
      post({ type: "loading", phase, done: 0, total: 0, bytesPerSecond: 0, cached: false });
    };
  }

  get versions() {
    return { ...this.assets.versions, "onnxruntime-web": version };
  }

  /** Load everything and be ready to run; the promise fails with what a person should know. */
  async start() {
    const begin = performance.now();
    const [found] = await Promise.all([this.#find(), this.assets.open()]);
    this.#configure(found);
    const model = this.assets.under(MODEL);
    const runtime = this.backend.build === "plain" ? "ort-wasm-simd-threaded" : `ort-wasm-simd-threaded.${this.backend.build}`;
    this.assets.expect([...PYTHON_FILES, `vendor/ort/${runtime}.wasm`, ...model]);
    const warm = this.assets.bytes(`${MODEL}grow.onnx`).then(warmUp);
    const [python, files] = await Promise.all([startPython(this.assets), this.#read(model), warm]);
    this.python = python;
    this.times.python = performance.now() - begin;
    this.phase("Opening the model");
    const manifest = JSON.parse(new TextDecoder().decode(files["autogaze.json"]));
    /** @type {Map<string, Uint8Array>} */
    const graphs = new Map(Object.entries(manifest.graphs).map(([name, { file }]) => [name, files[file]]));
    this.#builtIn = { manifest: files["autogaze.json"], graphs, files: Object.fromEntries(CHECKPOINT_FILES.map((name) => [name, files[name]])) };
    await this.use(await this.openBuiltIn(), true);
    this.times.model = performance.now() - begin;
    if (this.device) await this.#selfTest(JSON.parse(new TextDecoder().decode(files["self_test.json"])));
    this.times.ready = performance.now() - begin;
    this.assets.settle();
  }

  /** Check the built-in model. @returns {Promise<any>} Python's OpenModel */
  openBuiltIn() {
    return this.openModel("default", /** @type {BuiltIn} */ (this.#builtIn).files);
  }

  /**
   * Check a model's files; nothing changes by that.
   * @param {string} name @param {Files} files
   * @returns {Promise<any>} Python's OpenModel
   */
  async openModel(name, files) {
    const own = /** @type {BuiltIn} */ (this.#builtIn);
    const entries = Object.entries(JSON.parse(new TextDecoder().decode(own.manifest)).graphs);
    const graphs = Object.fromEntries(entries.map(([graph, { file }]) => [file, own.graphs.get(graph)]));
    return answer(this.python.model_from(name, files, own.manifest, graphs));
  }

  /**
   * Run with a model from now on.
   * @param {any} model of openModel @param {boolean} builtIn
   * @returns {Promise<ModelInfo>}
   */
  async use(model, builtIn) {
    this.model?.destroy();
    this.model = model;
    await this.#bind();
    this.modelInfo = { ...JSON.parse(model.info()), builtIn };
    return /** @type {ModelInfo} */ (this.modelInfo);
  }

  /** After the device was lost: another one, or WASM if it is not the first time. */
  async rebuild() {
    this.#losses += 1;
    const found = this.#losses < LOSSES ? await findDevice(this.wish === "webgpu", this.limits) : null;
    if (found?.device) this.#adopt(found.device);
    else this.#fallBack("lost");
    await this.#bind();
    this.post({ type: "backend", backend: this.backend });
  }

  async #find() {
    if (this.wish === "wasm") return { device: null, adapter: null, reason: /** @type {const} */ ("asked") };
    return findDevice(this.wish === "webgpu", this.limits);
  }

  /** @param {import("./gpu.js").Found} found */
  #configure({ device, adapter, reason }) {
    const build = !device ? "plain" : "Suspending" in WebAssembly ? "jspi" : "asyncify";
    const threads = device || !self.crossOriginIsolated ? 1 : Math.min(MOST_THREADS, navigator.hardwareConcurrency || 1);
    configure(build, new URL("vendor/ort/", this.assets.base), threads);
    this.backend = { ...this.backend, build, threads, adapter };
    if (device) {
      this.#adopt(device);
      this.backend = { ...this.backend, kind: "webgpu", name: `WebGPU on ${adapterName(/** @type {NonNullable<Backend["adapter"]>} */ (adapter))}` };
    } else this.#fallBack(reason);
  }

  /** @param {GPUDevice} device */
  #adopt(device) {
    this.device = device;
    this.kernels = this.ownKernels ? withKernels(device) : new Set();
    void device.lost.then((info) => {
      if (this.device === device && this.inference) this.inference.failure = new DeviceLost(info.message || "the graphics device was lost");
    });
    device.addEventListener("uncapturederror", ({ error }) => {
      if (error instanceof GPUOutOfMemoryError && this.inference?.device === device) this.inference.shortage = new OutOfMemory(error.message);
    });
  }

  /** @param {Backend["reason"]} reason */
  #fallBack(reason) {
    this.device = null;
    const { threads } = this.backend;
    const name = `WASM, ${threads} thread${threads === 1 ? "" : "s"}`;
    this.backend = { ...this.backend, kind: "wasm", name, reason, explanation: reason ? REASONS[reason] : "" };
  }

  /** Sessions of the model on the device. */
  async #bind() {
    await this.inference?.close();
    const own = /** @type {BuiltIn} */ (this.#builtIn);
    const manifest = JSON.parse(new TextDecoder().decode(own.manifest));
    const weights = this.model.weights();
    this.inference = new Inference(manifest, own.graphs, (name) => weights[name], this.device, this.strict, this.recorded);
    this.runtime?.destroy();
    this.runtime = this.python.BrowserRuntime(this.inference, this.backend.name);
    this.onDevice(this.device);
  }

  /**
   * The ids of two frames must be those that were stored; otherwise the device is tried in simpler ways, and then not used.
   * @param {{ids: number[][]}} stored
   */
  async #selfTest(stored) {
    this.phase("Testing the graphics device");
    if (await this.#passes(stored)) return;
    for (const [ownKernels, recorded] of [[true, false], [false, true], [false, false]]) {
      if (ownKernels !== this.ownKernels) {
        this.device?.destroy();
        const { device } = await findDevice(this.wish === "webgpu", this.limits);
        if (!device) break;
        this.ownKernels = ownKernels;
        this.#adopt(device);
      }
      this.recorded = recorded;
      await this.#bind();
      if (await this.#passes(stored)) return;
    }
    this.#fallBack("self-test");
    await this.#bind();
  }

  /** @param {{ids: number[][]}} stored */
  async #passes(stored) {
    let found = "";
    try {
      found = await answer(this.python.self_test(this.model, this.runtime));
    } catch (error) {
      found = error instanceof Error ? error.message : String(error);
    }
    if (found === JSON.stringify(stored.ids)) return true;
    this.selfTest = found;
    return false;
  }

  /** @param {string[]} paths @returns {Promise<Files>} by file name */
  async #read(paths) {
    const contents = await Promise.all(paths.map((path) => this.assets.bytes(path)));
    return Object.fromEntries(paths.map((path, index) => [path.slice(path.lastIndexOf("/") + 1), contents[index]]));
  }
}
