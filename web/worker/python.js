/** Pyodide with the project's package in it, and calls into it whose errors come out as errors. */

import { ENTRY, SNAPSHOT, showPackage } from "../shared/python_place.js";
import { Fault } from "./faults.js";

/** @typedef {import("pyodide").PyodideAPI} PyodideAPI */
/** @typedef {import("./assets.js").Assets} Assets */

let heap = () => 0;

/** Bytes of Python's memory. */
export const heapBytes = () => heap();

/** What `startPython` needs, of the page's files. */
export const PYTHON_FILES = ["vendor/pyodide/pyodide.asm.wasm", "vendor/pyodide/python_stdlib.zip", SNAPSHOT, "autogaze_web.zip"];

/**
 * Start Python as the build left it (web/python_snapshot.mjs): the package's doors are imported already.
 * @param {Assets} assets
 * @returns {Promise<any>} the module autogaze_web.in_browser
 */
export async function startPython(assets) {
  const folder = new URL("vendor/pyodide/", assets.base).href;
  const { loadPyodide } = await import(/* @vite-ignore */ `${folder}pyodide.mjs`);
  /** @type {PyodideAPI} */
  const pyodide = await loadPyodide({ indexURL: folder, _loadSnapshot: assets.bytes(SNAPSHOT) });
  heap = () => /** @type {any} */ (pyodide)._module.HEAPU8.length;
  showPackage(pyodide, await assets.bytes("autogaze_web.zip")); // for what is imported later
  return pyodide.pyimport(ENTRY);
}

/** An error that the package names, with its name. */
export class PythonError extends Error {
  /** @param {string} kind class of autogaze_web.errors, or "fault" @param {string} message @param {string} detail */
  constructor(kind, message, detail) {
    super(message);
    this.name = "PythonError";
    this.kind = kind;
    this.detail = detail;
  }
}

/**
 * Await what an `answered` function of Python gives.
 * @param {any} coroutine
 * @returns {Promise<any>}
 */
export async function answer(coroutine) {
  let result;
  try {
    result = await coroutine;
  } finally {
    coroutine.destroy?.();
  }
  if (result.fault) throw result.fault;
  if (result.kind) throw new PythonError(result.kind, result.message, result.detail);
  return result.value;
}

/** @type {Record<string, {kind: string, title: string, attempt: string}>} what a person is told beside the package's own sentence */
const TITLES = {
  VideoError: { kind: "not-video", title: "This video cannot be shown.", attempt: "Try another file." },
  SettingsError: { kind: "settings", title: "These settings do not go together.", attempt: "Change the setting that is named, or reset all of them." },
  CheckpointError: { kind: "model", title: "This is no checkpoint that can be used.", attempt: "Choose a Hugging Face folder of AutoGaze." },
  ModelError: { kind: "model", title: "This model does not fit.", attempt: "Choose a model of the sizes that are named, or go back to the built-in one." },
  MemoryFullError: { kind: "memory", title: "The memory is full.", attempt: "Set a smaller tile batch, use the mode “resize”, or close other tabs." },
  DeviceError: { kind: "device", title: "The graphics device was lost.", attempt: "Open the video again; choose WASM in the settings if it happens again." },
};

/**
 * Any error as a card.
 * @param {unknown} error
 * @returns {import("../shared/messages.js").Card}
 */
export function cardOf(error) {
  if (error instanceof Fault) return error.card;
  if (error instanceof PythonError) {
    const words = TITLES[error.kind];
    if (words) return { ...words, found: error.message, detail: error.detail };
  }
  const message = error instanceof Error ? error.message : String(error);
  return {
    kind: "fault",
    title: "Something went wrong in the page itself.",
    found: message.slice(0, 500),
    attempt: "Try once more. If it happens again, copy the diagnostics into a bug report.",
    detail: error instanceof PythonError ? error.detail : error instanceof Error ? (error.stack ?? "") : "",
  };
}
