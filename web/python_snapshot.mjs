/**
 * Python as it is when it has started: `node python_snapshot.mjs FOLDER` writes python.snapshot there, beside autogaze_web.zip.
 *
 * A browser takes seconds to compile what Python and the package import, and a moment to copy the memory that comes of it. A process of its
 * own, because clock and entropy stand still in it: the same sources give the same bytes. So nothing that is imported here may hold a secret.
 */

import nodeCrypto from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { loadPyodide } from "pyodide";
import { ENTRY, SNAPSHOT, showPackage } from "./shared/python_place.js";

const EPOCH = Date.UTC(1980, 0, 1); // as in python_archive.py
const PLACE = { HOME: "/home/pyodide", USER: "web_user", LOGNAME: "web_user", PATH: "/", PWD: "/", LANG: "C.UTF-8", _: "python" }; // not the builder's

function stopTheWorld() {
  Date.now = () => EPOCH;
  performance.now = () => 0;
  process.env.TZ = "UTC"; // Python keeps the time zone
  /** @type {any} */ (nodeCrypto).randomFillSync = (/** @type {Uint8Array} */ view) => view.fill(1); // Emscripten takes it from here
}

/** @param {string} folder @returns {Promise<Uint8Array>} */
async function snapshot(folder) {
  const archive = new Uint8Array(await readFile(path.join(folder, "autogaze_web.zip")));
  stopTheWorld();
  const pyodide = /** @type {any} */ (await loadPyodide({ _makeSnapshot: true, _sysExecutable: "python", env: { ...PLACE, PYTHONHASHSEED: "0" } }));
  showPackage(pyodide, archive);
  pyodide.runPython(`import ${ENTRY}`);
  return pyodide.makeMemorySnapshot();
}

await writeFile(path.join(process.argv[2], SNAPSHOT), await snapshot(process.argv[2]));
