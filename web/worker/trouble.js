/** Errors that something can be done about; Python knows them by name (runtimes/browser.py). */

export class OutOfMemory extends Error {
  /** @override */
  name = "OutOfMemory";
}

export class DeviceLost extends Error {
  /** @override */
  name = "DeviceLost";
}

export class Cancelled extends Error {
  /** @override */
  name = "Cancelled";
}

/** An error of ONNX Runtime, by what it says. @param {unknown} error */
export function classified(error) {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof OutOfMemory || error instanceof DeviceLost || error instanceof Cancelled) return error;
  if (/out of memory|bad_alloc|failed to allocate|allocation failed|array length|OrtRun.*memory/i.test(message)) return new OutOfMemory(message);
  // Nothing of ours unmaps a buffer that is being read: the device went with it, which is told later where the GPU is busy.
  if (/device.*lost|lost.*device|device is lost|unmapped before mapping/i.test(message)) return new DeviceLost(message);
  return error instanceof Error ? error : new Error(message);
}
