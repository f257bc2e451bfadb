/**
 * An esbuild plugin: ONNX Runtime Web, changed in one place, so that tensors may lie in its own WebAssembly memory.
 *
 * As it ships, release 1.30 copies every CPU tensor in and out of that memory at each run, also those that a graph changes in place: all KV
 * caches, three times a block. A typed array with a property `pointer` (an address in that memory, where its elements are) is used where it
 * is. The build fails when the text to be changed is not there: a new release has to be looked at.
 */

import { readFile } from "node:fs/promises";
import path from "node:path";

const FILE = "onnxruntime-web/dist/ort.webgpu.mjs";
const COPIED = `            dataByteLength = data.byteLength;
            rawData = wasm2._malloc(dataByteLength);
            allocs.push(rawData);
            wasm2.HEAPU8.set(new Uint8Array(data.buffer, data.byteOffset, dataByteLength), rawData);
          }
        }
      }
`;
const IN_PLACE = COPIED.replace("rawData = wasm2._malloc(dataByteLength);", "rawData = data.pointer ?? wasm2._malloc(dataByteLength);")
  .replace("allocs.push(rawData);", "if (data.pointer === undefined) { allocs.push(rawData);")
  .replace("rawData);\n          }", "rawData); }\n          }");
const EXPORTED = `
export const wasmModule = () => getInstance();
export const replay = async ({ handler: { sessionId } }) => {
  const wasm = getInstance(), [session, , outputs, binding] = activeSessions.get(sessionId), stack = wasm.stackSave();
  try {
    const place = wasm.stackAlloc(outputs.length * wasm.PTR_SIZE), at = (index) => place + index * wasm.PTR_SIZE;
    outputs.forEach((_, index) => wasm.setValue(at(index), 0, "*"));
    if (await wasm._OrtRunWithBinding(session, binding.handle, outputs.length, place, 0)) checkLastError("failed to play a recorded run");
    outputs.forEach((_, index) => wasm._OrtReleaseTensor(Number(wasm.getValue(at(index), "*"))));
  } finally {
    wasm.stackRestore(stack);
  }
};
`;
// An option that release 1.30 has and does not pass on.
const OPTION = `                if (webgpuOptions.validationMode) {`;
const PASSED = `                if (webgpuOptions.maxNumPendingDispatches) appendEpOption(epOptions, "maxNumPendingDispatches", \`\${webgpuOptions.maxNumPendingDispatches}\`, allocs);\n${OPTION}`;
const FORGOTTEN = `        wasm2.stackRestore(beforeRunStack);
        if (true) {`;
const KEPT = FORGOTTEN.replace("true", "!session[4]");

/** @param {string} modules folder of the packages @returns {import("esbuild").Plugin} */
export function ortInPlace(modules) {
  const file = path.join(modules, FILE);
  return {
    name: "ort-in-place",
    setup(build) {
      build.onResolve({ filter: /^onnxruntime-web\/webgpu$/ }, () => ({ path: file }));
      build.onLoad({ filter: /ort\.webgpu\.mjs$/ }, async () => {
        const source = await readFile(file, "utf8");
        if ([COPIED, FORGOTTEN, OPTION].some((text) => source.split(text).length !== 2)) throw new Error(`${FILE} is not the release that this build knows how to change`);
        const changed = source.replace(COPIED, () => IN_PLACE).replace(FORGOTTEN, () => KEPT).replace(OPTION, () => PASSED).replace(/^\/\/# sourceMappingURL=.*$/m, "");
        return { contents: changed + EXPORTED, loader: "js", resolveDir: path.dirname(file) };
      });
    },
  };
}
