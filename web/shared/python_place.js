/** What the build and the worker must agree on, for a snapshot has Python's memory but not its files. */

export const SNAPSHOT = "python.snapshot";
export const ENTRY = "autogaze_web.in_browser";
const ARCHIVE = "/lib/autogaze_web.zip";

/**
 * Have Python find the package, as an archive that is never unpacked.
 * @param {{FS: any, runPython: (code: string) => unknown}} pyodide
 * @param {Uint8Array} archive
 */
export function showPackage(pyodide, archive) {
  pyodide.FS.writeFile(ARCHIVE, archive);
  pyodide.runPython(`import sys\nif "${ARCHIVE}" not in sys.path: sys.path.insert(0, "${ARCHIVE}")`);
}
