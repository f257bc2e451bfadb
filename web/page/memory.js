/** What the page remembers between visits: two small choices. A browser may refuse to keep them. */

/**
 * @param {"theme" | "licence"} name
 * @returns {string | null}
 */
export function recall(name) {
  try {
    return localStorage.getItem(`autogaze-${name}`);
  } catch {
    return null;
  }
}

/**
 * @param {"theme" | "licence"} name
 * @param {string} value
 */
export function remember(name, value) {
  try {
    localStorage.setItem(`autogaze-${name}`, value);
  } catch {
    // it will be asked again
  }
}
