/** One video on the page: opened, gazed at, shown again, painted anew, saved. */

import { BlobStore } from "./blob_store.js";
import { PythonError, answer, cardOf } from "./python.js";
import { openVideo } from "./video.js";

/** @typedef {import("../shared/messages.js").News} News */
/** @typedef {import("../shared/messages.js").Settings} Settings */
/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./screen.js").Screen} Screen */
/** @typedef {import("./inference.js").Handle} Handle */

// Bytes of painted frames that are kept to be shown again at once: an eighth of the memory that the browser owns up to, a gigabyte at most.
const REEL_BYTES = Math.min(/** @type {{deviceMemory?: number}} */ (navigator).deviceMemory ?? 4, 8) * (1 << 27);
const PICTURE_MS = 50; // a hidden tab shows none

export class Job {
  /** @type {import("./video.js").Video | null} */
  video = null;
  /** @type {any} Python's Take */
  take = null;
  trace = new BlobStore();
  log = new BlobStore();
  /** @type {string[]} */
  notes = [];
  stopped = false;
  repaints = 0; // that go on; a later one takes over from an earlier one
  seconds = 0;
  tileBatch = 0;
  /** @type {Promise<void> | null} a lost device being replaced */
  recovery = null;
  /** @type {Promise<void>} what goes on */
  ended = Promise.resolve();

  /**
   * @param {number} run @param {Blob} file @param {string} name @param {Settings} settings
   * @param {Engine} engine @param {Screen} screen @param {(news: News) => void} post
   */
  constructor(run, file, name, settings, engine, screen, post) {
    this.run = run;
    this.file = file;
    this.name = name;
    this.settings = settings;
    this.engine = engine;
    this.screen = screen;
    this.post = post;
  }

  /** Open the video and gaze at it; what happens is posted. */
  start() {
    this.ended = this.#work().catch((error) => this.post({ type: "failed", run: this.run, card: cardOf(error) }));
    return this.ended;
  }

  /** End the gazing; what is done can still be shown. */
  stop() {
    this.stopped = true;
    this.take?.stop();
    if (this.take && this.engine.inference) this.engine.inference.cancelled = true;
  }

  /** Give everything back. */
  async close() {
    this.stop();
    await this.ended;
    if (this.engine.inference) this.engine.inference.cancelled = false;
    const take = this.take;
    this.take = null;
    if (take) {
      await answer(take.close()).catch(() => undefined);
      take.destroy();
    }
    this.video?.close();
  }

  get warnings() {
    return [...(this.video?.warnings ?? []), ...this.notes];
  }

  async #work() {
    const begin = performance.now();
    this.video = await openVideo(this.file, this.name);
    if (this.stopped) return this.post({ type: "cancelled", run: this.run, frames: 0 });
    const { info } = this.video;
    this.take = await this.#take();
    const plan = JSON.parse(await answer(this.take.plan(info.width, info.height)));
    if (this.stopped) return this.post({ type: "cancelled", run: this.run, frames: 0 });
    this.tileBatch = plan.tileBatch;
    this.post({ type: "opened", run: this.run, video: { ...info, bytes: this.file.size }, ...plan });
    const how = await this.#gaze();
    this.seconds = (performance.now() - begin) / 1000;
    const frames = this.take.done;
    if (how === "done") this.post({ type: "done", run: this.run, frames, seconds: this.seconds, warnings: this.warnings });
    else this.post({ type: "cancelled", run: this.run, frames });
  }

  #take() {
    const { python, model, runtime, versions } = this.engine;
    const options = { versions, reel_bytes: REEL_BYTES };
    const source = {
      info: { name: this.name, fps: this.video?.info.fps },
      frames: (/** @type {number} */ from) => this.#pictures(from),
    };
    const stage = {
      draw: (/** @type {number} */ index, /** @type {Handle} */ input, /** @type {Handle} */ mask, /** @type {Handle} */ output) => {
        this.screen.draw(input, mask, output);
        if (this.engine.inference) this.engine.inference.picture = nextPicture();
        this.post({ type: "shown", run: this.run, index, request: null });
      },
      news: (/** @type {any} */ news) => this.#tell(news),
    };
    const texts = [JSON.stringify(this.settings), JSON.stringify(options)];
    return answer(python.open_take(model, runtime, source, texts[0], stage, [this.log, this.trace], texts[1]));
  }

  /** Decoded frames with their planes in the runtime. @param {number} from */
  #pictures(from) {
    const stream = /** @type {import("./video.js").Video} */ (this.video).frames(from);
    return {
      next: async () => {
        const frame = await stream.next();
        if (!frame) return undefined;
        try {
          const inference = /** @type {import("./inference.js").Inference} */ (this.engine.inference);
          const planes = frame.planes.map(({ data, rows, stride }) => inference.upload("uint8", [rows, stride], data));
          const { index, time, width, height, format, matrix, fullRange, rotation, mirrored } = frame;
          return { index, time, width, height, format, matrix, fullRange, rotation, mirrored, planes };
        } finally {
          frame.release();
        }
      },
      close: () => stream.close(),
    };
  }

  /** @param {any} news */
  #tell(news) {
    /** @param {number | null | undefined} value */
    const known = (value) => value ?? null; // Python's None comes as undefined
    const emas = { mask_ratio_ema: known(news.mask_ratio_ema), update_ratio_ema: known(news.update_ratio_ema), psnr_db_ema: known(news.psnr_db_ema) };
    this.post({ type: "frame", run: this.run, news: { ...news, ...emas } });
    if (this.repaints) this.post({ type: "repainting", run: this.run, done: news.index + 1, total: this.take.done });
  }

  #gaze() {
    return this.#tried(() => this.take.run());
  }

  /** Await what Python does, again after what can be recovered from. @param {() => any} work a coroutine of Python */
  async #tried(work) {
    for (;;) {
      try {
        return await answer(work());
      } catch (error) {
        if (!this.take || !(await this.#recovered(error))) throw error;
      }
    }
  }

  /** Whether the work can go on after an error, and with what. @param {unknown} error */
  async #recovered(error) {
    if (!(error instanceof PythonError)) return false;
    if (error.kind === "DeviceError") {
      // Everything that goes on meets the loss; the first to say so has it mended for all.
      this.recovery ??= this.#mendDevice().finally(() => {
        this.recovery = null;
      });
      await this.recovery;
      return true;
    }
    if (error.kind === "MemoryFullError" && this.tileBatch > 1) {
      this.tileBatch = Math.ceil(this.tileBatch / 2);
      await this.#move(this.tileBatch, `The memory was full, so ${this.tileBatch} tiles are now decoded at once. Ids do not depend on it.`);
      return true;
    }
    return false;
  }

  async #mendDevice() {
    if (!this.engine.inference?.failure) return; // it was mended while this error was on its way
    await this.engine.rebuild();
    await this.#move(0, "The graphics device was lost and started again; the video goes on where it was.");
  }

  /** @param {number} tileBatch @param {string} note */
  async #move(tileBatch, note) {
    await answer(this.take.move(this.engine.runtime, tileBatch));
    this.notes.push(note);
    this.post({ type: "notice", kind: "warning", text: note });
  }

  /** @param {number} index @param {number} request */
  async show(index, request) {
    await this.#tried(() => this.take.show(index));
    this.post({ type: "shown", run: this.run, index, request });
  }

  /** A done frame for a file. @param {number} index */
  pixels(index) {
    return this.#tried(() => this.take.pixels(index));
  }

  /** @param {boolean} on */
  follow(on) {
    this.take?.follow(on);
  }

  /** @param {Settings} settings */
  async repaint(settings) {
    this.settings = settings;
    this.repaints += 1;
    try {
      await this.#tried(() => this.take.repaint(JSON.stringify(settings)));
    } finally {
      this.repaints -= 1;
      const frames = this.take?.done ?? 0;
      if (!this.repaints) this.post({ type: "repainting", run: this.run, done: frames, total: frames });
    }
  }
}

/** When the canvases have been shown: all three in one picture, which work that never pauses would tear apart. */
function nextPicture() {
  return new Promise((resolve) => {
    self.requestAnimationFrame?.(resolve);
    setTimeout(resolve, PICTURE_MS);
  });
}
