/** What a change of settings asks for: gazing again, painting again, or another worker. */

/** @typedef {import("./settings.js").SettingValues} SettingValues */
/** @typedef {{gaze: () => void, paint: () => void, backend: () => void}} Actions */

const PAUSE = { gaze: 400, paint: 120 }; // ms a person may go on changing

export class Changes {
  #timer = 0;

  /**
   * @param {SettingValues} values
   * @param {Actions} actions
   */
  constructor(values, actions) {
    this.values = values;
    this.actions = actions;
    this.done = this.#asked();
  }

  /** Settings may have changed; act when they have been still for a moment. */
  notice() {
    window.clearTimeout(this.#timer);
    const pause = this.#asked().gaze === this.done.gaze ? PAUSE.paint : PAUSE.gaze;
    this.#timer = window.setTimeout(() => this.#act(), pause);
  }

  #act() {
    const before = this.done;
    this.done = this.#asked();
    if (before.backend !== this.done.backend) this.actions.backend();
    else if (before.gaze !== this.done.gaze) this.actions.gaze();
    else if (before.paint !== this.done.paint) this.actions.paint();
  }

  /** What tells one state of the settings from another. */
  #asked() {
    return {
      gaze: JSON.stringify(this.values.forWorker("gaze")),
      paint: JSON.stringify(this.values.forWorker("paint")),
      backend: this.values.get("backend"),
    };
  }
}
