/**
 * The page's own files: fetched with honest progress, checked against their sha256, kept in the browser's cache by content.
 *
 * Pyodide and ONNX Runtime fetch their files themselves; in this worker `fetch` is replaced so that those go through here too.
 */

const CACHE = "autogaze-assets";

/** @typedef {{path: string, bytes: number, sha256: string}} Asset */
/** @typedef {{done: number, total: number, bytesPerSecond: number, cached: boolean}} Progress */

export class Assets {
  /** @type {Map<string, Asset>} by absolute address */
  #known = new Map();
  /** @type {Map<string, number>} bytes that have come, of those that are waited for */
  #came = new Map();
  /** @type {Set<string>} */
  #fromCache = new Set();
  /** @type {Map<string, Promise<Response>>} */
  #coming = new Map();
  #begin = 0;
  #fetch = self.fetch.bind(self);

  /**
   * @param {URL} base
   * @param {(progress: Progress) => void} report
   */
  constructor(base, report) {
    this.base = base;
    this.report = report;
    /** @type {Record<string, string>} */
    this.versions = {};
  }

  /** Read the list of files, and have `fetch` look there first. */
  async open() {
    const list = await (await this.#fetch(new URL("build.json", this.base), { cache: "no-cache" })).json();
    this.versions = list.versions;
    for (const [path, { bytes, sha256 }] of Object.entries(list.assets)) {
      this.#known.set(new URL(path, this.base).href, { path, bytes, sha256 });
    }
    self.fetch = (input, init) => {
      const address = new URL(input instanceof Request ? input.url : input, this.base).href;
      return this.#known.has(address) ? this.response(address) : this.#fetch(input, init);
    };
    void this.#forgetOld();
  }

  /** Say which files the progress is of, and begin with them. @param {string[]} paths */
  expect(paths) {
    this.#begin ||= performance.now();
    for (const path of paths) {
      const address = new URL(path, this.base).href;
      if (!this.#came.has(address)) this.#came.set(address, 0);
    }
    for (const path of paths) this.response(new URL(path, this.base).href).catch(() => undefined); // whoever needs the file meets the error
  }

  /** Paths below a folder. @param {string} folder */
  under(folder) {
    return [...this.#known.values()].map(({ path }) => path).filter((path) => path.startsWith(folder));
  }

  /** @param {string} path @returns {Promise<Uint8Array>} */
  async bytes(path) {
    return new Uint8Array(await (await this.response(new URL(path, this.base).href)).arrayBuffer());
  }

  /** @param {string} address @returns {Promise<Response>} */
  async response(address) {
    let coming = this.#coming.get(address);
    if (!coming) {
      coming = this.#get(address);
      this.#coming.set(address, coming);
      coming.catch(() => this.#coming.delete(address));
    }
    return (await coming).clone();
  }

  /** Nothing more is waited for: let go of what is held. */
  settle() {
    this.#coming.clear();
    this.#came.clear();
  }

  /** What is kept, and forget it if asked to. @param {boolean} clear @returns {Promise<{name: string, bytes: number}[]>} */
  async kept(clear) {
    if (!("caches" in self)) return [];
    if (clear) await caches.delete(CACHE);
    const cache = await caches.open(CACHE);
    const entries = [];
    for (const request of await cache.keys()) {
      const response = await cache.match(request);
      entries.push({ name: new URL(request.url).pathname.slice(1), bytes: Number(response?.headers.get("content-length") ?? 0) });
    }
    return entries;
  }

  /** @param {string} address @returns {Promise<Response>} */
  async #get(address) {
    const asset = /** @type {Asset} */ (this.#known.get(address));
    const key = `${address}?sha256=${asset.sha256}`;
    const cache = await this.#cache();
    const kept = await cache?.match(key);
    if (kept) {
      this.#fromCache.add(address);
      this.#progress(address, asset.bytes);
      return kept;
    }
    const answer = await this.#fetch(address);
    if (!answer.ok || !answer.body) throw new Error(`${asset.path} could not be loaded: ${answer.status} ${answer.statusText}`);
    const content = await this.#gather(answer.body, address, asset);
    if (crypto.subtle && (await digest(content)) !== asset.sha256) throw new Error(`${asset.path} is not the file that build.json lists. Reload the page; build it again if that does not help.`);
    const headers = { "content-type": answer.headers.get("content-type") ?? "application/octet-stream", "content-length": String(asset.bytes) };
    await cache?.put(key, new Response(content, { headers })).catch(() => undefined); // a full disk is no reason to stop
    return new Response(content, { headers });
  }

  /** @param {ReadableStream<Uint8Array>} body @param {string} address @param {Asset} asset */
  async #gather(body, address, asset) {
    const content = new Uint8Array(asset.bytes);
    let length = 0;
    for (const reader = body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (length + value.length > content.length) throw new Error(`${asset.path} is longer than build.json lists. Reload the page.`);
      content.set(value, length);
      length += value.length;
      this.#progress(address, length);
    }
    return content.subarray(0, length);
  }

  /** @param {string} address @param {number} bytes */
  #progress(address, bytes) {
    if (!this.#came.has(address)) return;
    this.#came.set(address, bytes);
    let done = 0;
    let total = 0;
    for (const [waited, came] of this.#came) {
      done += came;
      total += /** @type {Asset} */ (this.#known.get(waited)).bytes;
    }
    const seconds = (performance.now() - this.#begin) / 1000;
    const cached = [...this.#came.keys()].every((waited) => this.#came.get(waited) === 0 || this.#fromCache.has(waited));
    this.report({ done, total, bytesPerSecond: seconds > 0 ? done / seconds : 0, cached });
  }

  /** The cache; null where there is none (an insecure origin, a private window). */
  async #cache() {
    try {
      return await caches.open(CACHE);
    } catch {
      return null;
    }
  }

  /** Earlier builds' files. */
  async #forgetOld() {
    const cache = await this.#cache();
    const current = new Set([...this.#known].map(([address, { sha256 }]) => `${address}?sha256=${sha256}`));
    for (const request of (await cache?.keys()) ?? []) if (!current.has(request.url)) await cache?.delete(request);
  }
}

/** @param {Uint8Array} content @returns {Promise<string>} hexadecimal */
async function digest(content) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {any} */ (content)));
  return [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
