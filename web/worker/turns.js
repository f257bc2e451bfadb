/** Whose turn it is in the worker: ONNX Runtime can do one thing at a time, and other tasks want theirs. */

/** @type {Promise<unknown>} */
let tail = Promise.resolve();
let pending = 0; // that were asked for and have not ended

/**
 * Do one thing after all that was asked for before.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export function exclusive(work) {
  pending += 1;
  const turn = tail.then(work, work).finally(() => (pending -= 1));
  tail = turn.catch(() => undefined);
  return turn;
}

/** Whether anything is under way, or waits. */
export function busy() {
  return pending > 0;
}

const BREATH = 20; // ms of work in WASM after which orders are heard and canvases shown
let breathed = 0;
const { port1, port2 } = new MessageChannel();
port2.start();

/** Let the worker's other tasks have a turn: awaiting work in WASM alone never does. @returns {Promise<void> | undefined} */
export function breathe() {
  if (performance.now() - breathed < BREATH) return undefined;
  return new Promise((resolve) => {
    port2.onmessage = () => {
      breathed = performance.now();
      resolve();
    };
    port1.postMessage(null);
  });
}
