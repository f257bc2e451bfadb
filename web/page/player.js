/** The clock of playback: which frame should be on the canvases, and asking for it, one request at a time. */

import { nextRequest } from "./worker_link.js";

/** @typedef {import("./track.js").Track} Track */

const LONGEST_WAIT = 5000; // ms for an answer, before another frame is asked for

/** Plays the frames that are done. Frames are counted from 0; −1 is none. */
export class Player {
  /** On the canvases. */
  shown = -1;
  /** Wanted: where the scrub bar stands. */
  position = -1;
  playing = false;
  looping = false;
  /** Following the newest frame while there are new ones. */
  live = true;
  speed = 1;
  /** @type {Track | null} */
  track = null;
  fps = 30;
  /** More frames are to come. */
  growing = false;
  /** @type {{request: number, index: number, at: number} | null} */
  #asked = null;
  #stale = false; // what is on the canvases was painted with other settings
  #begin = { clock: 0, media: 0 }; // ms, s
  /** @type {number[]} ms, of the pictures shown lately */
  #times = [];

  /**
   * @param {(index: number, request: number) => void} show ask for a frame
   * @param {(on: boolean) => void} follow let the worker show every new frame, or not
   * @param {() => void} changed
   */
  constructor(show, follow, changed) {
    this.show = show;
    this.follow = follow;
    this.changed = changed;
  }

  /**
   * A new run: nothing is shown yet.
   * @param {Track | null} track
   * @param {number} fps
   */
  start(track, fps) {
    Object.assign(this, { shown: -1, position: -1, playing: false, live: true, track, fps: fps > 0 ? fps : 30, growing: true });
    this.#asked = null;
    this.#stale = false;
    this.#times = [];
    this.changed();
  }

  /** No more frames will come. */
  end() {
    this.growing = false;
    if (this.live) {
      this.live = false;
      if (this.last >= 0) this.#want(this.last);
    }
    this.changed();
  }

  get last() {
    return (this.track?.count ?? 0) - 1;
  }

  /**
   * Show a frame, and follow no more.
   * @param {number} index
   */
  seek(index) {
    if (this.last < 0) return;
    this.#leaveLive();
    this.#want(Math.min(Math.max(index, 0), this.last));
    this.#rebase(performance.now());
    this.changed();
  }

  /** @param {number} frames */
  step(frames) {
    this.playing = false;
    this.seek(this.position + frames);
  }

  /** @param {boolean} [on] */
  play(on = !this.playing) {
    if (this.last < 0) return;
    this.playing = on;
    if (on && this.position >= this.last && !this.live) this.#want(0);
    this.#leaveLive();
    this.#rebase(performance.now());
    this.changed();
  }

  /** @param {boolean} on */
  goLive(on) {
    if (on && !this.growing) return this.seek(this.last);
    this.live = on;
    if (on) this.playing = false;
    this.follow(on);
    this.changed();
  }

  /** @param {number} speed */
  setSpeed(speed) {
    this.speed = speed;
    this.#rebase(performance.now());
    this.changed();
  }

  /** What is shown was painted with other settings: ask for it again. */
  refresh() {
    this.#stale = true;
    this.#ask(performance.now());
  }

  /**
   * Called once a picture of the display.
   * @param {number} now ms
   */
  tick(now) {
    if (this.playing && this.track) this.#advance(now, this.track);
    if (this.#asked && now - this.#asked.at > LONGEST_WAIT) this.#asked = null;
    this.#ask(now);
  }

  /**
   * The worker has drawn a frame.
   * @param {number} index
   * @param {number | null} request null: because it follows
   */
  drawn(index, request) {
    const now = performance.now();
    if (request !== null && request === this.#asked?.request) this.#asked = null;
    this.shown = index;
    if (this.live) this.position = index;
    this.#times.push(now);
    if (this.#times.length > 90) this.#times.shift();
    this.#ask(now);
    this.changed();
  }

  /**
   * Pictures shown a second, lately.
   * @param {number} now ms
   * @returns {number | null}
   */
  displayRate(now) {
    const recent = this.#times.filter((time) => now - time < 2000);
    const first = recent[0];
    return first === undefined || recent.length < 2 ? null : ((recent.length - 1) * 1000) / Math.max(now - first, 1);
  }

  /**
   * @param {number} now
   * @param {Track} track
   */
  #advance(now, track) {
    const media = this.#begin.media + ((now - this.#begin.clock) / 1000) * this.speed;
    const end = (track.columns.time[this.last] ?? 0) + 1 / this.fps;
    if (media < end) return this.#move(track.frameAt(media));
    if (this.looping) {
      this.#move(0);
      this.#rebase(now);
    } else {
      this.#move(this.last);
      if (this.growing) this.#rebase(now); // wait for more
      else this.play(false);
    }
  }

  /** @param {number} index */
  #move(index) {
    if (index === this.position) return;
    this.position = index;
    this.changed();
  }

  /** @param {number} index */
  #want(index) {
    this.position = index;
    this.#ask(performance.now());
  }

  #leaveLive() {
    if (!this.live) return;
    this.live = false;
    this.follow(false);
    if (this.position < 0) this.position = this.last;
  }

  /** @param {number} now ms */
  #ask(now) {
    if (this.#asked || this.live || this.position < 0 || (this.position === this.shown && !this.#stale)) return;
    this.#stale = false;
    const request = nextRequest();
    this.#asked = { request, index: this.position, at: now };
    this.show(this.position, request);
  }

  /** @param {number} now ms */
  #rebase(now) {
    this.#begin = { clock: now, media: this.track?.columns.time[Math.max(this.position, 0)] ?? 0 };
  }
}
