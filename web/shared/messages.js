/**
 * What the page and its worker say to each other. Types only: the page knows no model and no geometry, the worker knows no DOM.
 *
 * Everything that belongs to a video carries `run`, a number the page counts up; the page ignores what comes from an earlier run.
 * Requests that want an answer carry `request`, and the answer carries it back. A run shows its frames as they come until told not to
 * follow. One export may be answered by several files. `width` is the most for GIFs. A model's files are named `folder/name`.
 */

/** @typedef {"input" | "mask" | "output"} Panel */

/**
 * Settings by name, as `autogaze_web.controls` describes them; only those that differ from the default.
 * @typedef {Record<string, string | number | boolean | number[] | null>} Settings
 */

/**
 * An error for a person.
 * @typedef {object} Card
 * @property {string} title what happened
 * @property {string} found what was found
 * @property {string} attempt what to try
 * @property {string} [kind] a stable name for tests and styling: "codec", "audio-only", "truncated", "no-key-frame", "empty", "not-video", "model", "settings", "memory", "device",
 *   "empty-file", "unreadable", "container", "no-webcodecs", "damaged", "export", "fault"
 * @property {string} [detail] for the diagnostics: stack or cause
 */

/**
 * @typedef {object} Backend
 * @property {"webgpu" | "wasm"} kind
 * @property {string} name for a person: "WebGPU on NVIDIA Hopper", "WASM, 2 threads"
 * @property {"" | "no-api" | "no-adapter" | "insecure" | "software" | "self-test" | "lost" | "asked"} reason why not WebGPU; "" where it is
 * @property {string} explanation the reason as a sentence; "" where there is none
 * @property {string} build "jspi", "asyncify" or "plain"
 * @property {number} threads
 * @property {{vendor: string, architecture: string, description: string, fallback: boolean} | null} adapter
 */

/**
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {string} sha256 of its weights
 * @property {number} bytes
 * @property {boolean} builtIn
 * @property {{grid: number, name: string, colour: string}[]} scales coarse to fine; the legend: "2×2", "#ffb400"
 * @property {number} cells tokens a frame can have in a tile
 * @property {number} frames of a window, at most
 */

/**
 * @typedef {object} VideoInfo
 * @property {string} name
 * @property {string} codec
 * @property {number} width as displayed, after rotation
 * @property {number} height
 * @property {number} fps
 * @property {number | null} frames null: not known before the end
 * @property {number | null} duration seconds
 * @property {number} bytes
 */

/**
 * One frame's numbers; `psnr_db` is Infinity where output and input are the same.
 * @typedef {object} FrameNews
 * @property {number} index
 * @property {number} time seconds
 * @property {number} window
 * @property {number} mask_ratio
 * @property {number} update_ratio
 * @property {number} psnr_db
 * @property {number | null} mask_ratio_ema
 * @property {number | null} update_ratio_ema
 * @property {number | null} psnr_db_ema null while every frame was the same as its input
 * @property {boolean} keyframe
 * @property {number[]} tokens by scale, all tiles
 * @property {number[]} seconds decode, gaze, paint
 */

/**
 * Page → worker.
 * @typedef {{type: "boot", canvases: Record<Panel, OffscreenCanvas>, backend: "auto" | "webgpu" | "wasm", strict: boolean}
 *   | {type: "open", run: number, file: Blob, name: string, settings: Settings}
 *   | {type: "cancel", run: number}
 *   | {type: "paint", run: number, settings: Settings}
 *   | {type: "show", run: number, index: number, request: number}
 *   | {type: "follow", run: number, on: boolean}
 *   | {type: "export", run: number, request: number, kind: ExportKind, panel?: Panel, index?: number, width?: number}
 *   | {type: "stop-export", request: number}
 *   | {type: "model", request: number, files: {name: string, file: Blob}[]}
 *   | {type: "built-in", request: number}
 *   | {type: "cache", request: number, clear: boolean}
 *   | {type: "diagnostics", request: number}
 *   | {type: "visible", on: boolean}} Order
 */

/** @typedef {"metrics" | "trace" | "csv" | "png" | "gif" | "video"} ExportKind */

/**
 * Worker → page.
 *
 * `loading` tells of one phase at a time; `total` is 0 where it is not known. `frame` comes once a gazed frame, in order; `shown` says
 * which frame is now on the canvases. `repainted` says from which frame on the numbers were computed anew (news follow as `frame`).
 * @typedef {{type: "loading", phase: string, done: number, total: number, bytesPerSecond: number, cached: boolean}
 *   | {type: "ready", backend: Backend, model: ModelInfo}
 *   | {type: "opened", run: number, video: VideoInfo, tiles: number, columns: number, rows: number, tileBatch: number}
 *   | {type: "frame", run: number, news: FrameNews}
 *   | {type: "shown", run: number, index: number, request: number | null}
 *   | {type: "repainting", run: number, done: number, total: number}
 *   | {type: "done", run: number, frames: number, seconds: number, warnings: string[]}
 *   | {type: "cancelled", run: number, frames: number}
 *   | {type: "failed", run: number | null, card: Card}
 *   | {type: "notice", text: string, kind: "info" | "warning"}
 *   | {type: "backend", backend: Backend}
 *   | {type: "exporting", request: number, done: number, total: number}
 *   | {type: "exported", request: number, blob: Blob, name: string}
 *   | {type: "model", request: number, model: ModelInfo}
 *   | {type: "cache", request: number, entries: {name: string, bytes: number}[]}
 *   | {type: "diagnostics", request: number, report: Record<string, unknown>}
 *   | {type: "refused", request: number, card: Card}} News
 */

export {};
