/** Names of downloads: they come from the clip, so from anybody. */

const MOST = 120; // characters
// what file systems and shells trip over, control characters, and marks that turn the direction of writing
const UNSAFE = /[\u0000-\u001f\u007f-\u009f<>:"/\\|?*\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;
const DEVICES = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i; // of Windows

/**
 * A name that every file system takes, and that names no folder.
 * @param {string} name
 * @param {string} [fallback]
 */
export function safeName(name, fallback = "autogaze") {
  const clean = name
    .normalize("NFC")
    .replace(UNSAFE, "_")
    .replace(/^[\s.]+|[\s.]+$/g, "");
  if (!clean) return fallback;
  const named = DEVICES.test(clean) ? `_${clean}` : clean;
  return named.length <= MOST ? named : shortened(named);
}

/**
 * Cut in the middle of a long name, so that its endings stay.
 * @param {string} name
 */
function shortened(name) {
  const ending = /(\.[^.\s]{1,12}){1,3}$/.exec(name)?.[0] ?? ""; // ".mask.gif": what tells one download from another
  return [...name.slice(0, MOST - ending.length)].filter(isWhole).join("") + ending;
}

/**
 * Not half a character.
 * @param {string} character
 */
function isWhole(character) {
  return !/^[\ud800-\udfff]$/.test(character);
}
