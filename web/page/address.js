/** Settings in the page's address: what differs from the default, and nothing else. */

import { read, written } from "./settings.js";

/** @typedef {import("./settings.js").SettingValues} SettingValues */

const LONGEST = 60; // characters of a bad value that are shown
const MOST = 6; // problems that are told one by one

/**
 * Take the settings from an address.
 * @param {SettingValues} values
 * @param {string} query
 * @returns {string[]} sentences: what was not understood, and what is used instead
 */
export function readAddress(values, query) {
  /** @type {string[]} */
  const problems = [];
  for (const [name, text] of new URLSearchParams(query)) {
    const setting = values.byName.get(name);
    if (!setting) {
      problems.push(`The address sets ${shortened(name)}, which is no setting; it is left out.`);
      continue;
    }
    const { value, problem } = read(setting, text);
    const rival = values.given().find(([other]) => other.name === name || (setting.control && other.control === setting.control));
    if (problem !== undefined) {
      problems.push(`The address sets ${name} to “${shortened(text)}”; ${problem}. ${instead(written(setting, setting.default))}`);
    } else if (rival) {
      const twice = rival[0].name === name ? `sets ${name} twice` : `sets both ${rival[0].name} and ${name}; give one of them`;
      problems.push(`The address ${twice}. The first is used.`);
    } else {
      values.set(name, value);
    }
  }
  const rest = problems.length - MOST;
  return rest > 0 ? [...problems.slice(0, MOST), `The address has ${rest} more values that are not used.`] : problems;
}

/**
 * The query of an address that holds the settings; "" where all are at their defaults.
 * @param {SettingValues} values
 */
export function writtenAddress(values) {
  const query = new URLSearchParams(values.given().map(([setting, value]) => [setting.name, written(setting, value)]));
  return query.size ? `?${query}` : "";
}

/**
 * Let the address hold the settings, without a new entry in the history.
 * @param {SettingValues} values
 */
export function writeAddress(values) {
  const { pathname, hash, search } = location;
  const query = writtenAddress(values);
  if (query !== search) history.replaceState(null, "", pathname + query + hash);
}

/** @param {string} text of the default */
function instead(text) {
  return text ? `The default, ${text}, is used.` : "The default is used.";
}

/** @param {string} text */
function shortened(text) {
  const characters = [...text];
  return characters.length <= LONGEST ? text : `${characters.slice(0, LONGEST).join("")}…`;
}
