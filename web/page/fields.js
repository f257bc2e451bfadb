/** One setting as a field: a select, a number with or without a slider, a list. */

import { make, setText } from "./elements.js";
import { read, written } from "./settings.js";

/** @typedef {import("./settings.js").Setting} Setting */
/** @typedef {import("./settings.js").Value} Value */
/** @typedef {{element: HTMLElement, input: HTMLElement, show: (value: Value | null) => void}} Field */

/**
 * @param {Setting} setting
 * @param {string} id
 * @param {(value: Value | null) => void} change called with what was read; nothing is taken that cannot be
 * @returns {Field}
 */
export function field(setting, id, change) {
  if (setting.kind === "choice") return choiceField(setting, id, change);
  const bounded = setting.kind === "number" && setting.most !== undefined && (setting.least ?? setting.above) === 0 && !setting.control;
  return bounded ? sliderField(setting, id, change) : textField(setting, id, change);
}

/**
 * @param {Setting} setting
 * @param {string} id
 * @param {(value: Value | null) => void} change
 * @returns {Field}
 */
function choiceField(setting, id, change) {
  const options = setting.choices.map(({ value, label }) => make("option", { value }, label));
  const select = make("select", { id, name: setting.name }, ...options);
  select.addEventListener("change", () => change(select.value));
  return { element: select, input: select, show: (value) => (select.value = String(value ?? "")) };
}

/**
 * @param {Setting} setting
 * @param {string} id
 * @param {(value: Value | null) => void} change
 * @returns {Field}
 */
function textField(setting, id, change) {
  const single = setting.kind === "integer" || setting.kind === "number";
  const limits = single ? limitsOf(setting) : {};
  const mode = setting.kind.startsWith("integer") ? "numeric" : "decimal";
  const input = make("input", {
    id,
    name: setting.name,
    type: single ? "number" : "text",
    inputmode: mode,
    autocomplete: "off",
    placeholder: setting.unset ?? "",
    ...limits,
  });
  const problem = make("p", { id: `${id}-problem`, class: "problem", role: "alert", hidden: true });
  const unit = setting.unit ? [make("span", { class: "unit" }, setting.unit)] : [];
  const element = make("div", { class: "field" }, make("div", { class: "with-unit" }, input, ...unit), problem);
  const tell = (/** @type {string} */ text) => {
    setText(problem, text);
    problem.hidden = !text;
    input.toggleAttribute("aria-invalid", Boolean(text));
  };
  input.addEventListener("change", () => {
    const empty = input.value.trim() === "" && !input.validity.badInput;
    if (empty) {
      tell("");
      return change(setting.control ? (setting.start ?? null) : null);
    }
    const { value, problem: wrong } = read(setting, input.value);
    tell(wrong === undefined ? "" : `${setting.label}: ${wrong}.`);
    if (value !== undefined) change(value);
  });
  const show = (/** @type {Value | null} */ value) => {
    if (document.activeElement === input) return; // it is being edited
    tell("");
    input.value = written(setting, value);
  };
  return { element, input, show };
}

/**
 * A slider and a number beside it.
 * @param {Setting} setting
 * @param {string} id
 * @param {(value: Value | null) => void} change
 * @returns {Field}
 */
function sliderField(setting, id, change) {
  const text = textField(setting, id, change);
  const most = Math.min(setting.most ?? 1, 4); // finer where it matters; the number goes further
  const limits = { ...limitsOf(setting), min: setting.least ?? setting.step ?? 0, max: most };
  const slider = make("input", { type: "range", "aria-label": `${setting.label}, slider`, ...limits });
  slider.addEventListener("input", () => change(Number(slider.value)));
  const show = (/** @type {Value | null} */ value) => {
    text.show(value);
    slider.value = String(value);
  };
  return { element: make("div", { class: "with-slider" }, slider, text.element), input: text.input, show };
}

/** @param {Setting} setting */
function limitsOf({ least, above, most, step, kind }) {
  const low = least ?? above;
  return {
    ...(low === undefined ? {} : { min: low }),
    ...(most === undefined ? {} : { max: most }),
    step: kind.startsWith("integer") ? 1 : (step ?? "any"),
  };
}
