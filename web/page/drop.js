/** The ways in: the whole page as a drop zone, the picker, and pasting. */

import { buttonById, byId, htmlById } from "./elements.js";
import { chosen, dropped } from "./intake.js";

/** @typedef {import("./intake.js").Found} Found */

/**
 * @param {(found: Found[]) => void} take
 * @param {(problem: string) => void} refuse
 */
export function watchDrops(take, refuse) {
  const overlay = htmlById("drop-overlay");
  const hasFiles = (/** @type {DragEvent} */ event) => Boolean(event.dataTransfer?.types.includes("Files"));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    if (event.dataTransfer) event.dataTransfer.dropEffect = hasFiles(event) ? "copy" : "none";
    overlay.hidden = !hasFiles(event);
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) overlay.hidden = true;
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    overlay.hidden = true;
    if (!event.dataTransfer) return;
    if (!hasFiles(event)) return refuse("What was dropped is no file. Drop a video file; the page opens no addresses.");
    dropped(event.dataTransfer).then(take, () => refuse("The dropped folder could not be read. Try choosing the files instead."));
  });
  addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (!files?.length) return; // text, into a field
    event.preventDefault();
    take(chosen(files));
  });
}

/** @param {(found: Found[]) => void} take */
export function watchPickers(take) {
  pairUp(["choose-video", "open-button"], "video-input", take);
  pairUp(["choose-model-folder"], "folder-input", take);
  pairUp(["choose-model-files"], "model-input", take);
}

/**
 * Buttons that open a picker.
 * @param {string[]} buttons
 * @param {string} inputId
 * @param {(found: Found[]) => void} take
 */
function pairUp(buttons, inputId, take) {
  const input = byId(inputId, HTMLInputElement);
  for (const button of buttons) buttonById(button).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const found = chosen(input.files);
    input.value = ""; // the same file can be chosen again
    if (found.length) take(found);
  });
}
