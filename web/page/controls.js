/** The form of settings, made from their description. */

import { htmlById, make, setText } from "./elements.js";
import { field } from "./fields.js";

/** @typedef {import("./settings.js").Setting} Setting */
/** @typedef {import("./settings.js").Alternatives} Alternatives */
/** @typedef {import("./settings.js").SettingValues} SettingValues */
/** @typedef {import("./settings.js").Value} Value */
/** @typedef {(name: string, value: Value | null) => void} Change */

const GROUPS = /** @type {const} */ ([
  ["gaze", "How it is looked at", "Changes here look at the video again."],
  ["paint", "How it is painted", "Changes here paint again what is done."],
  ["page", "Where it runs", "A change here starts the worker anew."],
]);

export class Controls {
  /** @type {(() => void)[]} */
  #updates = [];

  /**
   * @param {SettingValues} values
   * @param {() => void} changed
   */
  constructor(values, changed) {
    this.values = values;
    const change = (/** @type {string} */ name, /** @type {Value | null} */ value) => {
      values.set(name, value);
      this.update();
      changed();
    };
    const form = htmlById("controls");
    form.addEventListener("submit", (event) => event.preventDefault()); // Enter takes a value, and sends nothing
    form.replaceChildren(...GROUPS.map(([group, title, note]) => this.#group(group, title, note, change)));
    this.update();
  }

  /** Show the values as they are. */
  update() {
    for (const update of this.#updates) update();
  }

  /**
   * @param {string} group
   * @param {string} title
   * @param {string} note
   * @param {Change} change
   */
  #group(group, title, note, change) {
    const settings = this.values.description.settings.filter((setting) => setting.group === group);
    const usual = settings.filter((setting) => !setting.rare);
    const rare = settings.filter((setting) => setting.rare);
    const more = make("details", { class: "more" }, make("summary", {}, usual.length ? "More" : title), ...this.#rows(rare, change));
    if (rare.some(({ name }) => this.values.isGiven(name))) more.open = true;
    if (!usual.length) return make("fieldset", { id: `group-${group}` }, make("legend", { class: "unseen" }, title), more);
    const legend = make("legend", {}, title);
    const fieldset = make("fieldset", { id: `group-${group}` }, legend, make("p", { class: "note" }, note), ...this.#rows(usual, change));
    if (rare.length) fieldset.append(more);
    return fieldset;
  }

  /**
   * @param {Setting[]} settings
   * @param {Change} change
   */
  #rows(settings, change) {
    /** @type {HTMLElement[]} */
    const rows = [];
    for (const setting of settings) {
      if (!setting.control) {
        rows.push(this.#row(setting, change));
      } else if (settings.find((other) => other.control === setting.control) === setting) {
        const control = this.values.description.alternatives.find(({ name }) => name === setting.control);
        if (control) rows.push(this.#alternatives(control, settings, change));
      }
    }
    return rows;
  }

  /**
   * @param {Setting} setting
   * @param {Change} change
   */
  #row(setting, change) {
    const id = `setting-${setting.name}`;
    const { element, input, show } = field(setting, id, (value) => change(setting.name, value));
    this.#updates.push(() => {
      show(this.values.get(setting.name));
      const counts = this.values.counts(setting);
      for (const part of row.querySelectorAll("input, select")) part.toggleAttribute("disabled", !counts);
      row.classList.toggle("idle", !counts);
    });
    const row = rowOf(id, setting.label, setting.help, element, [input]);
    return row;
  }

  /**
   * A select of the alternatives, and the field of the one that is chosen.
   * @param {Alternatives} control
   * @param {Setting[]} settings
   * @param {Change} change
   */
  #alternatives(control, settings, change) {
    const id = `setting-${control.name}`;
    const forms = settings.filter((setting) => setting.control === control.name);
    const options = forms.map((setting) => make("option", { value: setting.name }, setting.label));
    const select = make("select", { id }, make("option", { value: "" }, control.unset), ...options);
    const fields = forms
      .filter((setting) => setting.kind !== "choice")
      .map((setting) => ({ setting, ...field(setting, `setting-${setting.name}`, (value) => change(setting.name, value)) }));
    select.addEventListener("change", () => {
      const chosen = forms.find(({ name }) => name === select.value);
      if (chosen) change(chosen.name, chosen.choices[0]?.value ?? first(chosen));
      else for (const { name } of forms.slice(0, 1)) change(name, null);
    });
    for (const { setting, input } of fields) input.setAttribute("aria-label", `${control.label}: ${setting.label}. ${setting.help}`);
    const stops = control.name === "task_loss" ? [make("p", { id: "stops", class: "note", role: "status" })] : [];
    this.#updates.push(() => {
      const given = forms.find(({ name }) => this.values.isGiven(name));
      select.value = given?.name ?? "";
      for (const { setting, element, show } of fields) {
        element.hidden = setting !== given;
        if (setting === given) show(this.values.get(setting.name));
      }
      for (const note of stops) setText(note, this.values.stops);
    });
    const both = make("div", { class: "alternatives" }, select, ...fields.map(({ element }) => element));
    const row = rowOf(id, control.label, control.help, both, [select]);
    row.append(...stops);
    return row;
  }
}

/** @param {Setting} setting */
function first(setting) {
  const start = setting.start ?? 0;
  return setting.kind.endsWith("s") ? [start] : start;
}

/**
 * Label, field, and a tip that says what it is.
 * @param {string} id
 * @param {string} label
 * @param {string} help
 * @param {HTMLElement} element
 * @param {HTMLElement[]} inputs
 */
function rowOf(id, label, help, element, inputs) {
  const tip = make("span", { id: `${id}-tip`, role: "tooltip" }, help);
  for (const input of inputs) input.setAttribute("aria-describedby", tip.id);
  return make("div", { class: "row", "data-tip": tip.id }, make("label", { for: id }, label), element, tip);
}
