/** What a screen reader says while things go on: not every number, and not more often than one can listen. */

import { htmlById, setText } from "./elements.js";

const PAUSE = 8000; // ms between two sentences of the same kind

let lastKind = "";
let lastTime = -PAUSE;

/**
 * @param {string} kind of a sentence: another kind is said at once
 * @param {string} text
 */
export function announce(kind, text) {
  const now = performance.now();
  if (kind === lastKind && now - lastTime < PAUSE) return;
  lastKind = kind;
  lastTime = now;
  setText(htmlById("announcer"), text);
}
