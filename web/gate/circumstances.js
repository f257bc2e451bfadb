/** What the gate's and the benchmark's workers share: their files, and what computed. */

/** @typedef {import("../worker/engine.js").Engine} Engine */

/** What every WebGPU device has. */
export const TIGHT = { maxStorageBufferBindingSize: 2 ** 27, maxBufferSize: 2 ** 28, maxComputeWorkgroupStorageSize: 2 ** 14 };

/** @param {Engine} engine @param {string[]} paths @returns {Promise<Record<string, Uint8Array>>} by file name */
export async function files(engine, paths) {
  const contents = await Promise.all(paths.map((path) => engine.assets.bytes(path)));
  return Object.fromEntries(paths.map((path, index) => [path.slice(path.lastIndexOf("/") + 1), contents[index]]));
}

/** What computed, beside the verdict. @param {Engine} engine @param {number} begin */
export function circumstances(engine, begin) {
  const { backend, versions, times, device, selfTest } = engine;
  return {
    backend: backend.name,
    kind: backend.kind,
    reason_for_wasm: backend.reason,
    build: backend.build,
    threads: backend.threads,
    adapter: backend.adapter,
    kernels: [...engine.kernels].sort(),
    features: device ? [...device.features].sort() : [],
    limits: device ? Object.fromEntries(Object.keys(TIGHT).map((name) => [name, /** @type {any} */ (device.limits)[name]])) : {},
    self_test: selfTest || "passed, or not needed",
    versions: { ...versions, browser: navigator.userAgent },
    milliseconds: { ...times, total: Math.round(performance.now() - begin) },
  };
}
