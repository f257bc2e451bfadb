/** The run: one video being gazed at. A new one replaces it at once, and news of an earlier one are not heard. */

import { Track } from "./track.js";

/** @typedef {import("../shared/messages.js").News} News */
/** @typedef {import("../shared/messages.js").Order} Order */
/** @typedef {import("../shared/messages.js").Settings} Settings */
/** @typedef {import("../shared/messages.js").VideoInfo} VideoInfo */
/** @typedef {import("../shared/messages.js").Card} Card */
/** @typedef {"idle" | "waiting" | "opening" | "gazing" | "done" | "cancelled" | "failed"} Phase waiting: for the worker to be ready */

const RECENT = 32; // frames that the rate is told of

export class Run {
  number = 0;
  /** @type {Phase} */
  phase = "idle";
  /** @type {File | null} */
  file = null;
  /** @type {VideoInfo | null} */
  video = null;
  /** @type {Track | null} */
  track = null;
  tiles = { count: 1, columns: 1, rows: 1, batch: 1 };
  /** @type {{frames: number, seconds: number} | null} of a run that is done */
  took = null;
  /** @type {{done: number, total: number} | null} painting again */
  repainting = null;
  /** @type {number[]} ms, when the latest frames came */
  #arrivals = [];

  /**
   * @param {(order: Order) => void} post
   * @param {() => Settings} settings as they are now
   * @param {() => number} scales of the model
   * @param {(what: "started" | "opened" | "ended" | "changed") => void} changed
   */
  constructor(post, settings, scales, changed) {
    this.post = post;
    this.settings = settings;
    this.scales = scales;
    this.changed = changed;
  }

  get active() {
    return this.phase === "waiting" || this.phase === "opening" || this.phase === "gazing";
  }

  get frames() {
    return this.track?.count ?? 0;
  }

  /**
   * Look at a video, in place of the one that is being looked at.
   * @param {File} file
   * @param {boolean} ready the worker is
   */
  open(file, ready) {
    if (this.phase === "opening" || this.phase === "gazing" || this.repainting) this.post({ type: "cancel", run: this.number });
    this.number++;
    Object.assign(this, { file, phase: "waiting", video: null, took: null, repainting: null });
    this.track = new Track(this.scales());
    this.#arrivals = [];
    this.changed("started");
    if (ready) this.begin();
  }

  /** Open what has been waiting for the worker. */
  begin() {
    if (this.phase !== "waiting" || !this.file) return;
    this.phase = "opening";
    this.track = new Track(this.scales());
    this.post({ type: "open", run: this.number, file: this.file, name: this.file.name, settings: this.settings() });
    this.changed("changed");
  }

  /** Stop; the frames that are done stay. */
  cancel() {
    if ((this.active && this.phase !== "waiting") || this.repainting) this.post({ type: "cancel", run: this.number });
    this.repainting = null;
    if (this.active) this.#end("cancelled");
    else this.changed("changed");
  }

  /** Paint again with the settings as they are now, without gazing again. */
  repaint() {
    if (this.phase === "idle" || this.phase === "waiting" || this.phase === "failed") return false;
    this.post({ type: "paint", run: this.number, settings: this.settings() });
    return true;
  }

  /** The worker is lost, and the run with it. */
  lose() {
    this.repainting = null;
    if (this.phase !== "idle") this.#end("failed");
    this.track = null;
  }

  /**
   * @param {Extract<News, {run: number | null}>} news
   * @returns {boolean} of this run, so that others may act on it too
   */
  hear(news) {
    if (news.run !== null && news.run !== this.number) return false;
    switch (news.type) {
      case "opened":
        if (this.phase !== "opening") return false;
        this.phase = "gazing";
        this.video = news.video;
        this.tiles = { count: news.tiles, columns: news.columns, rows: news.rows, batch: news.tileBatch };
        this.changed("opened");
        return true;
      case "frame":
        this.#arrive();
        this.track?.put(news.news);
        break;
      case "repainting":
        this.repainting = news.done < news.total ? { done: news.done, total: news.total } : null;
        break;
      case "done":
        this.took = { frames: news.frames, seconds: news.seconds };
        this.#end("done");
        break;
      case "cancelled":
        if (this.active) this.#end("cancelled");
        this.repainting = null;
        break;
      case "failed":
        if (news.run !== null && this.phase !== "idle") this.#end("failed");
        break;
    }
    this.changed("changed");
    return true;
  }

  /** Frames of the video, as far as is known: counted, or told by its length. @returns {{frames: number, exact: boolean} | null} */
  get total() {
    if (this.took) return { frames: this.took.frames, exact: true };
    const { frames = null, duration = null, fps = 0 } = this.video ?? {};
    if (frames !== null) return { frames, exact: true };
    return duration && fps > 0 ? { frames: Math.max(Math.round(duration * fps), this.frames), exact: false } : null;
  }

  /** Frames a second that came lately, all work included; null: not known yet. */
  get rate() {
    const [first] = this.#arrivals;
    const last = this.#arrivals.at(-1);
    return first === undefined || last === undefined || last <= first ? null : ((this.#arrivals.length - 1) * 1000) / (last - first);
  }

  #arrive() {
    if (this.phase !== "gazing") return;
    this.#arrivals.push(performance.now());
    if (this.#arrivals.length > RECENT) this.#arrivals.shift();
  }

  /** @param {"done" | "cancelled" | "failed"} phase */
  #end(phase) {
    this.phase = phase;
    this.changed("ended");
  }
}
