/** Settings by the description that Python gives (controls.json): their text in fields and addresses, and what goes to the worker. */

/** @typedef {string | number | number[]} Value */
/** @typedef {{value: string, label: string}} Choice */
/**
 * @typedef {object} Setting
 * @property {string} name
 * @property {"gaze" | "paint" | "page"} group
 * @property {"choice" | "integer" | "number" | "numbers" | "integers"} kind
 * @property {string} label
 * @property {string} help
 * @property {Choice[]} choices
 * @property {number} [least]
 * @property {number} [above] as least, but not the limit itself
 * @property {number} [most]
 * @property {number} [step]
 * @property {number} [start] where a field begins that had no value
 * @property {string} [unit]
 * @property {string} [between] what separates the parts of a list
 * @property {string} [unset] what no value means
 * @property {string} [control] of the alternatives that it is one of
 * @property {{name: string, value: string | null} | null} needs
 * @property {boolean} rare
 * @property {Value | null} default
 */
/** @typedef {{name: string, label: string, help: string, unset: string}} Alternatives */
/** @typedef {{settings: Setting[], alternatives: Alternatives[], stops: {budget: boolean, loss: string, text: string}[]}} Description */
/** @typedef {{value: Value, problem?: undefined} | {problem: string, value?: undefined}} Reading */

/** The values that a person gave, by name; a setting without one has its default. */
export class SettingValues {
  /** @type {Map<string, Value>} */
  #given = new Map();

  /** @param {Description} description */
  constructor(description) {
    this.description = description;
    /** @type {Map<string, Setting>} */
    this.byName = new Map(description.settings.map((setting) => [setting.name, setting]));
  }

  /** @param {string} name */
  get(name) {
    return this.#given.get(name) ?? this.byName.get(name)?.default ?? null;
  }

  /** @param {string} name */
  isGiven(name) {
    return this.#given.has(name);
  }

  /**
   * Set a value; null: the default again. Of alternatives, the last one given counts.
   * @param {string} name
   * @param {Value | null} value
   */
  set(name, value) {
    const setting = this.byName.get(name);
    if (!setting) return;
    if (setting.control) for (const other of this.#alternativesOf(setting.control)) this.#given.delete(other.name);
    if (value === null || same(value, setting.default)) this.#given.delete(name);
    else this.#given.set(name, value);
  }

  clear() {
    this.#given.clear();
  }

  /** @returns {[Setting, Value][]} those that differ from the default, in the order of the description */
  given() {
    return this.description.settings.flatMap((setting) => {
      const value = this.#given.get(setting.name);
      return value === undefined ? [] : /** @type {[Setting, Value][]} */ ([[setting, value]]);
    });
  }

  /**
   * Does a setting count, with the others as they are?
   * @param {Setting} setting
   * @returns {boolean}
   */
  counts(setting) {
    const { needs } = setting;
    if (!needs) return true;
    const other = this.byName.get(needs.name);
    if (!other || !this.counts(other)) return false;
    return needs.value === null ? this.#given.has(needs.name) : this.get(needs.name) === needs.value;
  }

  /**
   * What goes to the worker.
   * @param {("gaze" | "paint")[]} groups
   * @returns {import("../shared/messages.js").Settings}
   */
  forWorker(...groups) {
    const wanted = this.given().filter(([setting]) => setting.group !== "page" && groups.includes(setting.group) && this.counts(setting));
    return Object.fromEntries(wanted.map(([setting, value]) => [setting.name, value]));
  }

  /** What budget and task loss mean together. */
  get stops() {
    const budget = this.#alternativesOf("budget").some(({ name }) => this.#given.has(name));
    const loss = this.#alternativesOf("task_loss").find(({ name }) => this.#given.has(name));
    const form = !loss ? "" : loss.kind === "choice" ? this.get(loss.name) : "given";
    return this.description.stops.find((stop) => stop.budget === budget && stop.loss === form)?.text ?? "";
  }

  /** @param {string} control */
  #alternativesOf(control) {
    return this.description.settings.filter((setting) => setting.control === control);
  }
}

/**
 * A value as text, for a field and for the address.
 * @param {Setting} setting
 * @param {Value | null} value
 */
export function written(setting, value) {
  return value === null ? "" : Array.isArray(value) ? value.join(setting.between) : String(value);
}

/**
 * A value from text, or what is wrong with it as the end of a sentence.
 * @param {Setting} setting
 * @param {string} text
 * @returns {Reading}
 */
export function read(setting, text) {
  const trimmed = text.trim();
  if (setting.kind === "choice") {
    const values = setting.choices.map(({ value }) => value);
    return values.includes(trimmed) ? { value: trimmed } : { problem: `choose one of ${values.join(", ")}` };
  }
  if (setting.kind === "integer" || setting.kind === "number") return number(setting, trimmed);
  const parts = trimmed.split(setting.between === "+" ? /\s*[+,\s]\s*/ : /\s*,\s*/); // a + of an address is read as a space
  const readings = parts.map((part) => number(setting, part));
  const wrong = readings.find(({ problem }) => problem !== undefined);
  return wrong ?? { value: readings.map(({ value }) => /** @type {number} */ (value)) };
}

/**
 * @param {Setting} setting
 * @param {string} text
 * @returns {Reading}
 */
function number(setting, text) {
  const whole = setting.kind.startsWith("integer");
  const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : NaN;
  if (!Number.isFinite(value) || (whole && !Number.isSafeInteger(value))) return { problem: `it is a ${whole ? "whole " : ""}number` };
  if (setting.least !== undefined && value < setting.least) return { problem: `it ${range(setting)}` };
  if (setting.above !== undefined && value <= setting.above) return { problem: `it ${range(setting)}` };
  if (setting.most !== undefined && value > setting.most) return { problem: `it ${range(setting)}` };
  return { value };
}

/** @param {Setting} setting */
function range({ least, above, most }) {
  const low = least !== undefined ? `is at least ${least}` : above !== undefined ? `is above ${above}` : "";
  return [low, most !== undefined ? `${low ? "" : "is "}at most ${most}` : ""].filter(Boolean).join(" and ");
}

/**
 * @param {Value | null} a
 * @param {Value | null} b
 */
function same(a, b) {
  return Array.isArray(a) && Array.isArray(b) ? a.join() === b.join() : a === b;
}
