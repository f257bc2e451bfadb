/** Keys: one table that binds them and that the help lists. */

/** @typedef {{keys: string[], does: string, group: string, run: (key: string) => void}} Binding keys: "Space", "ArrowLeft", "Shift+ArrowLeft", "f" … */

const NAMES = /** @type {Record<string, string>} */ ({
  ArrowLeft: "←",
  ArrowRight: "→",
  Escape: "Esc",
  Shift: "Shift",
});

/**
 * Bind the table's keys, wherever the focus is, unless what has it needs the key itself.
 * @param {Binding[]} bindings
 */
export function bindKeys(bindings) {
  const byKey = new Map(bindings.flatMap((binding) => binding.keys.map((key) => [key, binding])));
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const key = pressed(event);
    const binding = byKey.get(key);
    if (!binding || isTaken(event.target, key)) return;
    event.preventDefault();
    binding.run(key);
  });
}

/**
 * A key as people know it.
 * @param {string} key
 * @returns {string[]} its parts
 */
export function keyParts(key) {
  if (key === "+") return ["+"];
  return key.split("+").map((part) => NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part));
}

/** @param {KeyboardEvent} event */
function pressed({ key, shiftKey }) {
  if (key === " ") return "Space";
  if (key.length === 1) return key.toLowerCase(); // Shift is part of the sign, as in "?"
  return shiftKey ? `Shift+${key}` : key;
}

/**
 * Does what has the focus use this key itself? The scrub bar does not: its keys are the player's.
 * @param {EventTarget | null} target
 * @param {string} key
 */
function isTaken(target, key) {
  if (!(target instanceof HTMLElement) || target.id === "scrub" || key === "Escape") return false;
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement || target instanceof HTMLTextAreaElement) return true;
  return key === "Space" && target.closest("button, summary, a") !== null;
}
