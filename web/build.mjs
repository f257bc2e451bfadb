/**
 * Builds the page: `node build.mjs [FOLDER]` writes everything that is served into web/dist, or FOLDER, and lists it in build.json.
 *
 * The folder appears whole or not at all. The same sources give the same bytes. Sizes are in bytes, paths relative to the folder.
 */

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, readdir, rename, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { licences } from "./licences.mjs";
import { ortInPlace } from "./ort_in_place.mjs";

const WEB = path.dirname(fileURLToPath(import.meta.url));
const MODULES = path.join(WEB, "node_modules");
const PYODIDE = ["pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json"];
const ORT = ["", ".jspi", ".asyncify"].flatMap((kind) => ["mjs", "wasm"].map((type) => `ort-wasm-simd-threaded${kind}.${type}`));
const PAGE_FILES = /\.(html|svg|png|webmanifest)$/;
const NOT_SERVED = ["evaluation.json"]; // of the model's folder
const DIRECT = ["gifenc", "mediabunny", "onnxruntime-web", "pyodide", "uplot"];

/** @param {string} out folder to write */
async function buildPage(out) {
  const fresh = `${out}.new`;
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh, { recursive: true });
  const packages = await bundle(fresh);
  await copyStatic(fresh);
  python(fresh);
  snapshot(fresh);
  await writeFile(path.join(fresh, "LICENSES.txt"), await licences(MODULES, [...packages, "pyodide", "onnxruntime-web"]));
  const total = await list(fresh);
  await rm(out, { recursive: true, force: true });
  await rename(fresh, out);
  console.log(`${path.relative(process.cwd(), out) || "."}: ${(total / 1e6).toFixed(1)} MB`);
}

/**
 * Page, worker and styles, each one file with a source map.
 * @param {string} out
 * @returns {Promise<Set<string>>} the npm packages that went in
 */
async function bundle(out) {
  /** @type {import("esbuild").BuildOptions} */
  const common = {
    absWorkingDir: WEB,
    outdir: "dist", // what source maps are relative to, wherever the files then go
    write: false,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    sourcemap: "linked",
    metafile: true,
    legalComments: "none", // LICENSES.txt has them whole
    conditions: ["onnxruntime-web-use-extern-wasm"], // its glue is fetched from /vendor/ort
    external: ["/vendor/*", "node:*", "ws"], // the last two: what Pyodide imports when it runs in Node
    loader: { ".wgsl": "text" },
    logLevel: "warning",
  };
  const results = await Promise.all([
    build({ ...common, plugins: [ortInPlace(MODULES)], entryPoints: { main: "page/main.js", worker: "worker/main.js", gate: "gate/gate.js", gate_worker: "gate/worker.js", bench: "gate/bench.js", bench_worker: "gate/bench_worker.js" } }),
    build({ ...common, entryPoints: await styles(), outbase: "page", loader: { ".svg": "dataurl" } }),
    build({ ...common, entryPoints: ["gate/gate.css"], outbase: "gate" }),
  ]);
  const files = results.flatMap((result) => result.outputFiles ?? []);
  for (const file of files) {
    const place = path.join(out, path.relative(path.join(WEB, "dist"), file.path));
    await mkdir(path.dirname(place), { recursive: true });
    await writeFile(place, file.contents);
  }
  const inputs = results.flatMap((result) => Object.keys(/** @type {import("esbuild").Metafile} */ (result.metafile).inputs));
  return new Set(inputs.flatMap((input) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)?.[1] ?? []));
}

/** @returns {Promise<string[]>} the style sheets that index.html links to */
async function styles() {
  const html = await readFile(path.join(WEB, "page", "index.html"), "utf8");
  return [...html.matchAll(/<link\b[^>]*\bhref="([^"]+\.css)"/g)].map(([, href]) => path.posix.join("page", href));
}

/** @param {string} out */
async function copyStatic(out) {
  const page = (await readdir(path.join(WEB, "page"))).filter((name) => PAGE_FILES.test(name));
  const model = (await readdir(path.join(WEB, "models", "default"))).filter((name) => !NOT_SERVED.includes(name));
  await copyAll(path.join(WEB, "page"), page, out);
  await copyAll(path.join(WEB, "gate"), ["gate.html", "bench.html"], out);
  await copyAll(path.join(WEB, "models", "default"), model, path.join(out, "models", "default"));
  await copyAll(path.join(WEB, "sample"), ["sample.webm"], out);
  await copyAll(path.join(MODULES, "pyodide"), PYODIDE, path.join(out, "vendor", "pyodide"));
  await copyAll(path.join(MODULES, "onnxruntime-web", "dist"), ORT, path.join(out, "vendor", "ort"));
}

/**
 * @param {string} from
 * @param {string[]} names
 * @param {string} to
 */
async function copyAll(from, names, to) {
  await mkdir(to, { recursive: true });
  await Promise.all(names.map((name) => copyFile(path.join(from, name), path.join(to, name))));
}

/**
 * What Python writes: autogaze_web.zip, controls.json and parity/.
 * @param {string} out
 */
function python(out) {
  execFileSync(process.env.PYTHON ?? "python3", [path.join(WEB, "python_archive.py"), out], { stdio: "inherit" });
}

/** Python as it is when it has started. @param {string} out */
function snapshot(out) {
  execFileSync(process.execPath, [path.join(WEB, "python_snapshot.mjs"), out], { stdio: "inherit" });
}

/** @returns {Promise<Record<string, string>>} of this program and of what runs in the page */
async function versions() {
  const ours = /^version = "(.+)"$/m.exec(await readFile(path.join(WEB, "..", "pyproject.toml"), "utf8"))?.[1] ?? "unknown";
  const theirs = DIRECT.map(async (name) => [name, JSON.parse(await readFile(path.join(MODULES, name, "package.json"), "utf8")).version]);
  return { "autogaze-web": ours, ...Object.fromEntries(await Promise.all(theirs)) };
}

/**
 * Write build.json: every file with its size and SHA-256.
 * @param {string} out
 * @returns {Promise<number>} bytes of all of them
 */
async function list(out) {
  /** @type {Record<string, {bytes: number, sha256: string}>} */
  const assets = {};
  for (const name of await filesBelow(out)) {
    const content = await readFile(path.join(out, name));
    assets[name] = { bytes: content.length, sha256: createHash("sha256").update(content).digest("hex") };
  }
  await writeFile(path.join(out, "build.json"), JSON.stringify({ versions: await versions(), assets }, null, 1) + "\n");
  return Object.values(assets).reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * @param {string} folder
 * @returns {Promise<string[]>} relative paths with slashes, sorted
 */
async function filesBelow(folder, prefix = "") {
  const names = (await readdir(path.join(folder, prefix))).sort();
  const found = await Promise.all(
    names.map(async (name) => {
      const relative = prefix ? `${prefix}/${name}` : name;
      return (await stat(path.join(folder, relative))).isDirectory() ? filesBelow(folder, relative) : [relative];
    }),
  );
  return found.flat();
}

try {
  await buildPage(path.resolve(process.argv[2] ?? path.join(WEB, "dist")));
} catch (error) {
  console.error(`The page was not built: ${error instanceof Error ? error.message : error}`); // esbuild and Python have said where
  process.exitCode = 1;
}
