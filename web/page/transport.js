/** The player's buttons, its scrub bar and the line that says where it stands. */

import { buttonById, byId, htmlById, icon, setText } from "./elements.js";
import { clock, whole } from "./format.js";

/** @typedef {import("./player.js").Player} Player */

const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
const FAR = 10; // frames of a long step, where a second is not known

export class Transport {
  #scrub = byId("scrub", HTMLInputElement);
  #play = buttonById("play");
  #speed = byId("speed", HTMLSelectElement);
  #drawn = "";

  /** @param {Player} player */
  constructor(player) {
    this.player = player;
    this.#play.addEventListener("click", () => player.play());
    buttonById("to-start").addEventListener("click", () => player.seek(0));
    buttonById("to-end").addEventListener("click", () => player.seek(player.last));
    buttonById("step-back").addEventListener("click", () => player.step(-1));
    buttonById("step-forward").addEventListener("click", () => player.step(1));
    buttonById("loop").addEventListener("click", () => this.loop());
    buttonById("live").addEventListener("click", () => player.goLive(!player.live));
    this.#scrub.addEventListener("input", () => this.#scrubbed());
    for (const speed of SPEEDS) this.#speed.add(new Option(`${speed}×`, String(speed), speed === 1, speed === 1));
    this.#speed.addEventListener("change", () => player.setSpeed(Number(this.#speed.value)));
  }

  /** Frames of a long step: a second. */
  get far() {
    return Math.max(2, Math.round(this.player.fps) || FAR);
  }

  loop() {
    this.player.looping = !this.player.looping;
    this.player.changed();
  }

  /**
   * Speed up or slow down, one of the speeds at a time.
   * @param {1 | -1} by
   */
  shift(by) {
    const next = SPEEDS[SPEEDS.indexOf(this.player.speed) + by];
    if (next === undefined) return;
    this.#speed.value = String(next);
    this.player.setSpeed(next);
  }

  /**
   * Show the player as it is.
   * @param {number | null} total frames of the video, where known
   */
  update(total) {
    const { player } = this;
    const done = player.last + 1;
    const all = player.growing ? Math.max(total ?? done, done, 1) : Math.max(done, 1);
    this.#scrub.disabled = done === 0;
    this.#scrub.max = String(all - 1);
    this.#scrub.value = String(Math.max(player.position, 0));
    this.#scrub.style.setProperty("--done", `${(done / all) * 100}%`);
    this.#scrub.style.setProperty("--at", `${all > 1 ? (Math.max(player.position, 0) / (all - 1)) * 100 : 0}%`);
    const time = player.track?.columns.time[Math.max(player.position, 0)] ?? 0;
    const place = done ? `${whole(player.position + 1)} / ${whole(done)}` : "– / –";
    setText(htmlById("place"), place);
    setText(htmlById("time"), done ? clock(time) : "");
    this.#scrub.setAttribute("aria-valuetext", done ? `frame ${player.position + 1} of ${done} done, ${clock(time)}` : "no frame yet");
    this.#buttons(done);
  }

  /** @param {number} done */
  #buttons(done) {
    const { player } = this;
    for (const id of ["play", "to-start", "to-end", "step-back", "step-forward"]) buttonById(id).disabled = done === 0;
    const name = player.playing ? "pause" : "play";
    if (this.#drawn !== name) {
      this.#drawn = name;
      this.#play.replaceChildren(icon(name));
      this.#play.setAttribute("aria-label", player.playing ? "Pause" : "Play");
    }
    buttonById("loop").setAttribute("aria-pressed", String(player.looping));
    const live = buttonById("live");
    live.hidden = !player.growing;
    live.setAttribute("aria-pressed", String(player.live));
  }

  /** A person moved the scrub bar: what is not done cannot be shown. */
  #scrubbed() {
    this.player.playing = false;
    this.player.seek(Number(this.#scrub.value));
    this.#scrub.value = String(Math.max(this.player.position, 0));
  }
}
