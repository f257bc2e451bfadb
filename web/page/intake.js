/** Files that come to the page: dropped, pasted or chosen; what of them is a video, and what a model. */

/** @typedef {{path: string, file: File}} Found path: with folders, "/" between */
/** @typedef {{model: {name: string, file: File}[], video: File | null, videos: number}} Intake */

const MODEL = /(^|\/)(config\.json|preprocessor_config\.json|[^/]+\.safetensors)$/i;
const OF_MODEL = /\.(json|safetensors)$/i;
const VIDEO = /\.(mp4|m4v|mov|mkv|webm|avi|ts|m2ts|mpg|mpeg|ogv|3gp|wmv|flv)$/i;
const MOST_FILES = 2000; // of a dropped folder
const MOST_DEPTH = 6;

/**
 * Sort what came. A folder that holds a configuration or weights is a model; of videos the first is taken.
 * @param {Found[]} found
 * @returns {Intake}
 */
export function sorted(found) {
  const plain = found.filter(({ path }) => !/(^|\/)(\.|__MACOSX\/)/.test(path));
  const seen = plain.length ? plain : found; // a person who brings only hidden files means them
  const marks = seen.filter(({ path }) => MODEL.test(path)).sort((a, b) => depth(a.path) - depth(b.path));
  const folder = marks[0] === undefined ? null : folderOf(marks[0].path);
  const model = seen.filter(({ path }) => folder !== null && folderOf(path) === folder && OF_MODEL.test(path));
  const rest = seen.filter((one) => !model.includes(one));
  const videos = rest.filter(({ path, file }) => file.type.startsWith("video/") || VIDEO.test(path));
  const video = videos[0] ?? (model.length ? undefined : rest[0]);
  return { model: model.map(({ path, file }) => ({ name: lastTwo(path), file })), video: video?.file ?? null, videos: videos.length };
}

/**
 * Everything in a drop, folders opened. Called while the event is young: its items are gone later.
 * @param {DataTransfer} transfer
 * @returns {Promise<Found[]>}
 */
export async function dropped(transfer) {
  const files = [...transfer.files];
  const entries = [...transfer.items].filter(({ kind }) => kind === "file").map((item) => item.webkitGetAsEntry?.() ?? null);
  if (!entries.some((entry) => entry?.isDirectory)) return files.map((file) => ({ path: file.name, file }));
  /** @type {Found[]} */
  const found = [];
  for (const entry of entries) if (entry) await collect(entry, found, 0);
  return found;
}

/**
 * What a picker gave.
 * @param {FileList | null} files
 * @returns {Found[]}
 */
export function chosen(files) {
  return [...(files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
}

/**
 * @param {FileSystemEntry} entry
 * @param {Found[]} found
 * @param {number} level
 */
async function collect(entry, found, level) {
  if (found.length >= MOST_FILES || level > MOST_DEPTH) return;
  if (entry.isFile) {
    const file = await new Promise((/** @type {(file: File) => void} */ resolve, reject) =>
      /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject),
    );
    found.push({ path: entry.fullPath.replace(/^\//, ""), file });
    return;
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  for (;;) {
    const batch = await new Promise((/** @type {(entries: FileSystemEntry[]) => void} */ resolve, reject) => reader.readEntries(resolve, reject));
    if (!batch.length) return;
    for (const inner of batch) await collect(inner, found, level + 1);
  }
}

/** @param {string} path */
const depth = (path) => path.split("/").length;
/** A file with the folder it is in, whose name is the model's. @param {string} path */
const lastTwo = (path) => path.split("/").slice(-2).join("/");
/** @param {string} path */
const folderOf = (path) => path.slice(0, Math.max(path.lastIndexOf("/"), 0));
