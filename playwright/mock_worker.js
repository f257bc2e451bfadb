/**
 * A worker for looking at the page alone: it says what the real one says (web/shared/messages.js), draws moving pictures instead of
 * decoding and gazes at nothing. What it does follows from the file's name: "codec", "late-fail", "crash", "long" and "identical" in it
 * choose what happens. It is served in the place of worker.js, so it imports nothing.
 */

/** @typedef {import("../web/shared/messages.js").Order} Order */
/** @typedef {import("../web/shared/messages.js").News} News */
/** @typedef {import("../web/shared/messages.js").Panel} Panel */

const SCALES = [
  { grid: 2, name: "2×2", colour: "#ffb400" },
  { grid: 4, name: "4×4", colour: "#3cdc78" },
  { grid: 7, name: "7×7", colour: "#00b9ff" },
  { grid: 14, name: "14×14", colour: "#e66eff" },
];
const WIDTH = 640;
const HEIGHT = 360;
const FPS = 24;
const CODEC = {
  title: "This video cannot be decoded here",
  found: "Its pictures are MPEG-4 part 2 (mp4v), which no browser decodes.",
  attempt: "Convert it, for example: ffmpeg -i clip.mp4 -c:v libvpx-vp9 clip.webm",
  kind: "codec",
};
const BROKEN = {
  title: "The video breaks off",
  found: "After 8 frames the file ends in the middle of a picture.",
  attempt: "Copy the file again; the frames up to there stay.",
  kind: "truncated",
};

/** @type {Record<Panel, OffscreenCanvas> | null} */
let canvases = null;
let run = 0;
let follow = true;
let done = 0;
let timer = 0;
let alpha = 0.38;
let builtIn = true;
let brought = ""; // name of the model that was dropped
let cached = [
  { name: "pyodide.asm.wasm", bytes: 9_612_345 },
  { name: "ort-wasm-simd-threaded.jspi.wasm", bytes: 16_758_545 },
  { name: "model.safetensors", bytes: 13_055_716 },
];
/** @type {Set<number>} */
const stopped = new Set();

/** @param {News} news */
const say = (news) => postMessage(news);
/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

onmessage = ({ data }) => {
  const order = /** @type {Order} */ (data);
  switch (order.type) {
    case "boot":
      canvases = order.canvases;
      return void boot(order.backend);
    case "open":
      return open(order.run, order.name, order.settings);
    case "cancel":
      clearTimeout(timer);
      return say({ type: "cancelled", run: order.run, frames: done });
    case "paint":
      return void repaint(order.run, order.settings);
    case "show":
      draw(order.index);
      return say({ type: "shown", run: order.run, index: order.index, request: order.request });
    case "follow":
      follow = order.on;
      return;
    case "export":
      return void exportFile(order);
    case "stop-export":
      stopped.add(order.request);
      return;
    case "model":
      return takeModel(order.request, order.files);
    case "built-in":
      builtIn = true;
      return say({ type: "model", request: order.request, model: model() });
    case "cache":
      if (order.clear) cached = [];
      return say({ type: "cache", request: order.request, entries: cached });
    case "diagnostics":
      return say({ type: "diagnostics", request: order.request, report: { worker: "mock", frames: done } });
    case "visible":
      return;
  }
};

/** @param {"auto" | "webgpu" | "wasm"} backend */
async function boot(backend) {
  for (const [phase, total, isCached] of /** @type {[string, number, boolean][]} */ ([
    ["Python", 13_400_000, true],
    ["ONNX Runtime", 16_700_000, true],
    ["model weights", 13_055_716, false],
    ["first run of the graphs", 0, false],
  ])) {
    for (let step = 1; step <= 4; step++) {
      const share = total ? Math.round((total * step) / 4) : 0;
      say({ type: "loading", phase, done: share, total, bytesPerSecond: isCached ? 0 : 8_300_000, cached: isCached });
      await pause(40);
    }
  }
  const gpu = backend === "webgpu";
  say({
    type: "ready",
    backend: gpu
      ? { kind: "webgpu", name: "WebGPU on Mock adapter", reason: "", explanation: "", build: "jspi", threads: 1, adapter: null }
      : {
          kind: "wasm",
          name: "WASM, 2 threads",
          reason: backend === "wasm" ? "asked" : "no-adapter",
          explanation: backend === "wasm" ? "WASM was asked for." : "This browser offers WebGPU, but found no graphics adapter; the graphs run on the CPU.",
          build: "plain",
          threads: 2,
          adapter: null,
        },
    model: model(),
  });
}

/** @returns {import("../web/shared/messages.js").ModelInfo} */
function model() {
  const own = { name: "autogaze-web built-in", sha256: "5f0c".repeat(16), bytes: 13_055_716, builtIn: true };
  const other = { name: brought, sha256: "a17e".repeat(16), bytes: 13_055_716, builtIn: false };
  return { ...(builtIn ? own : other), scales: SCALES, cells: 265, frames: 16 };
}

/**
 * @param {number} number
 * @param {string} name
 * @param {import("../web/shared/messages.js").Settings} settings
 */
function open(number, name, settings) {
  clearTimeout(timer);
  Object.assign(globalThis, { identical: name.includes("identical") });
  run = number;
  done = 0;
  follow = true;
  if (name.includes("crash")) setTimeout(() => { throw new Error("The mock was told to crash."); }, 20); // prettier-ignore
  if (name.includes("codec")) return say({ type: "failed", run, card: CODEC });
  if (settings["clip_len"] && Number(settings["clip_len"]) > 16) {
    const found = `clip_len is ${settings["clip_len"]}, and this model looks at 16 frames at most.`;
    return say({ type: "failed", run, card: { title: "These settings do not go", found, attempt: "Change them.", kind: "settings" } });
  }
  const frames = name.includes("long") ? 200_000 : 48;
  const tiled = settings["mode"] === "tiled";
  for (const canvas of Object.values(canvases ?? {})) Object.assign(canvas, { width: WIDTH, height: HEIGHT });
  const video = { name, codec: "VP9", width: WIDTH, height: HEIGHT, fps: FPS, frames, duration: frames / FPS, bytes: 812_345 };
  say({ type: "opened", run, video, tiles: tiled ? 6 : 1, columns: tiled ? 3 : 1, rows: tiled ? 2 : 1, tileBatch: 1 });
  const begin = performance.now();
  const each = name.includes("long") ? 5000 : 1;
  const next = () => {
    for (let count = 0; count < each && done < frames; count++) gaze(number);
    if (follow) draw(done - 1);
    if (follow) say({ type: "shown", run: number, index: done - 1, request: null });
    if (name.includes("late-fail") && done === 8) return say({ type: "failed", run: number, card: BROKEN });
    if (done < frames) timer = Number(setTimeout(next, 60));
    else say({ type: "done", run: number, frames, seconds: (performance.now() - begin) / 1000, warnings: [] });
  };
  timer = Number(setTimeout(next, 120));
}

/** @param {number} number of the run */
function gaze(number) {
  say({ type: "frame", run: number, news: news(done) });
  done++;
}

/**
 * Numbers that look like a video's.
 * @param {number} index
 * @returns {import("../web/shared/messages.js").FrameNews}
 */
function news(index) {
  const keyframe = index % 30 === 0;
  const mask = 0.16 + 0.1 * Math.sin(index / 9) ** 2 + 0.04 * Math.sin(index * 1.7) ** 2;
  const same = keyframe || Boolean(Reflect.get(globalThis, "identical"));
  const psnr = same ? Infinity : 34 - 5 * Math.sin(index / 9) ** 2 - (index % 30) * 0.1;
  const tokens = [2 + (index % 3), 5 + (index % 5), 11 + (index % 7), 20 + ((index * 7) % 19)];
  return {
    index,
    time: index / FPS,
    window: Math.floor(index / 16),
    mask_ratio: mask,
    update_ratio: keyframe ? 1 : mask,
    psnr_db: psnr,
    mask_ratio_ema: mask * 0.97,
    update_ratio_ema: 0.2 + 0.8 * 0.85 ** (index % 30),
    psnr_db_ema: index && !Reflect.get(globalThis, "identical") ? 32.5 : null,
    keyframe,
    tokens,
    seconds: [0.004, 0.031, 0.006],
  };
}

/** @param {number} index of the frame to draw on all three */
function draw(index) {
  if (!canvases) return;
  const [input, mask, output] = /** @type {Panel[]} */ (["input", "mask", "output"]).map((panel) => canvases?.[panel].getContext("2d"));
  if (!input || !mask || !output) return;
  scene(input, index);
  scene(output, index - (index % 30));
  mask.fillStyle = "#000";
  mask.fillRect(0, 0, WIDTH, HEIGHT);
  for (const [x, y, scale] of cells(index)) {
    const { grid, colour } = /** @type {typeof SCALES[number]} */ (SCALES[scale]);
    const [left, top, wide, high] = [(x * WIDTH) / grid, (y * HEIGHT) / grid, WIDTH / grid, HEIGHT / grid];
    mask.globalAlpha = alpha;
    mask.fillStyle = colour;
    mask.fillRect(left, top, wide, high);
    mask.globalAlpha = 1;
    mask.strokeStyle = colour;
    mask.strokeRect(left + 0.5, top + 0.5, wide - 1, high - 1);
    output.save();
    output.beginPath();
    output.rect(left, top, wide, high);
    output.clip();
    scene(output, index);
    output.restore();
  }
}

/** @param {number} index */
function place(index) {
  return [0.5 + 0.36 * Math.cos(index / 14), 0.52 + 0.26 * Math.sin(index / 9)];
}

/**
 * A ball over hills.
 * @param {OffscreenCanvasRenderingContext2D} context
 * @param {number} index
 */
function scene(context, index) {
  const sky = context.createLinearGradient(0, 0, 0, HEIGHT);
  sky.addColorStop(0, "#8fb8de");
  sky.addColorStop(1, "#e9dcc3");
  context.fillStyle = sky;
  context.fillRect(0, 0, WIDTH, HEIGHT);
  for (const [layer, colour] of ["#7d9a86", "#5c7a68", "#3d5a4c"].entries()) {
    context.fillStyle = colour;
    context.beginPath();
    context.moveTo(0, HEIGHT);
    for (let x = 0; x <= WIDTH; x += 8) context.lineTo(x, HEIGHT * (0.55 + layer * 0.12) + 22 * Math.sin(x / (70 - 12 * layer) + layer * 2 + index * 0.004));
    context.lineTo(WIDTH, HEIGHT);
    context.fill();
  }
  const [x, y] = place(index);
  context.fillStyle = "#c8452f";
  context.beginPath();
  context.arc(Number(x) * WIDTH, Number(y) * HEIGHT, 34, 0, 7);
  context.fill();
  context.fillStyle = "#fff";
  context.font = "600 20px system-ui";
  context.fillText(String(index + 1), Number(x) * WIDTH - 12, Number(y) * HEIGHT + 7);
}

/**
 * @param {number} index
 * @returns {[number, number, number][]} column, row, scale
 */
function cells(index) {
  const [x, y] = place(index);
  /** @type {[number, number, number][]} */
  const chosen = [];
  SCALES.forEach(({ grid }, scale) => {
    const reach = scale < 2 ? 0 : 1;
    for (let column = -reach; column <= reach; column++)
      for (let row = -reach; row <= reach; row++) {
        if (scale === 0 && index % 4) continue;
        chosen.push([Math.floor(Number(x) * grid) + column, Math.floor(Number(y) * grid) + row, scale]);
      }
  });
  return chosen.filter(([column, row, scale]) => Math.min(column, row) >= 0 && Math.max(column, row) < Number(SCALES[scale]?.grid));
}

/**
 * @param {number} number
 * @param {import("../web/shared/messages.js").Settings} settings
 */
async function repaint(number, settings) {
  alpha = Number(settings["blend_alpha"] ?? 0.38);
  const total = done;
  for (let index = 0; index < total && number === run; index += 8) {
    say({ type: "repainting", run: number, done: index, total });
    for (let frame = index; frame < Math.min(index + 8, total); frame++) say({ type: "frame", run: number, news: news(frame) });
    await pause(50);
  }
  say({ type: "repainting", run: number, done: total, total });
}

/** @param {Extract<Order, {type: "export"}>} order */
async function exportFile({ request, kind, panel, index }) {
  const names = { metrics: "metrics.json", trace: "trace.json", csv: "frames.csv", png: `${panel}-${index}.png`, gif: `${panel}.gif`, video: "side.webm" };
  const total = kind === "gif" || kind === "video" ? done : 0;
  for (let frame = 0; frame < total; frame += 2) {
    if (stopped.has(request)) {
      const card = { title: "The file was not made", found: "It was stopped.", attempt: "Start it again.", kind: "stopped" };
      return say({ type: "refused", request, card });
    }
    say({ type: "exporting", request, done: frame, total });
    await pause(50);
  }
  const files = kind === "gif" && !panel ? ["input.gif", "mask.gif", "output.gif"] : [names[kind]];
  for (const name of files) say({ type: "exported", request, blob: new Blob([JSON.stringify({ kind, done })]), name: `../clip ${name}` });
}

/**
 * @param {number} request
 * @param {{name: string, file: Blob}[]} files
 */
function takeModel(request, files) {
  const missing = ["config.json", "preprocessor_config.json", "model.safetensors"].filter((name) => !files.some((file) => file.name.split("/").at(-1) === name));
  if (missing.length) {
    const card = { title: "This is no AutoGaze model", found: `It lacks ${missing.join(", ")}.`, attempt: "Drop all three files.", kind: "model" };
    return say({ type: "refused", request, card });
  }
  builtIn = false;
  brought = files[0]?.name.split("/").at(-2) ?? "your model";
  say({ type: "model", request, model: model() });
}
