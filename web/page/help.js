/** The help: what can be done, and every key. */

import { byId, htmlById, make } from "./elements.js";
import { keyParts } from "./keys.js";

/** @typedef {import("./keys.js").Binding} Binding */

/** @param {Binding[]} bindings */
export function fillHelp(bindings) {
  const groups = [...new Set(bindings.map(({ group }) => group))];
  const tables = groups.map((group) => {
    const rows = bindings
      .filter((binding) => binding.group === group)
      .map(({ keys, does }) => make("div", { class: "key-row" }, make("dt", {}, ...keycaps(keys)), make("dd", {}, does)));
    return make("section", {}, make("h3", {}, group), make("dl", { class: "keys" }, ...rows));
  });
  htmlById("key-list").replaceChildren(...tables);
}

/** Open the help; close it where it is open. */
export function toggleHelp() {
  const dialog = byId("help", HTMLDialogElement);
  if (dialog.open) dialog.close();
  else dialog.showModal();
}

/** @param {string[]} keys */
function keycaps(keys) {
  return keys.flatMap((key, number) => {
    const caps = keyParts(key).flatMap((part, place) => [...(place ? [" + "] : []), make("kbd", {}, part)]);
    return number ? [keys.length > 2 ? " " : " or ", ...caps] : caps;
  });
}

/** A click beside a dialog closes it, and so do its buttons of class "close". */
export function closeDialogsOutside() {
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog && dialog.dataset["outside"] !== "stay") dialog.close();
    });
    for (const button of dialog.querySelectorAll("button.close")) button.addEventListener("click", () => dialog.close());
  }
}
