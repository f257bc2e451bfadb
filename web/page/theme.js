/** Light or dark: as the system says, until a person says otherwise. */

import { buttonById } from "./elements.js";
import { recall, remember } from "./memory.js";

/** @typedef {"light" | "dark"} Theme */

const system = matchMedia("(prefers-color-scheme: dark)");

/** @param {() => void} changed */
export function watchTheme(changed) {
  const button = buttonById("theme-button");
  const apply = (/** @type {string | null} */ chosen) => {
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset["theme"] = chosen;
    button.setAttribute("aria-label", current() === "dark" ? "Switch to light" : "Switch to dark");
    changed();
  };
  button.addEventListener("click", () => {
    const next = current() === "dark" ? "light" : "dark";
    remember("theme", next);
    apply(next);
  });
  system.addEventListener("change", () => apply(recall("theme")));
  apply(recall("theme"));
}

/** @returns {Theme} */
function current() {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === "light" || chosen === "dark" ? chosen : system.matches ? "dark" : "light";
}
