/** Every key of the page. The help lists this table. */

import { buttonById, htmlById } from "./elements.js";
import { toggleHelp } from "./help.js";

/** @typedef {import("./keys.js").Binding} Binding */
/** @typedef {import("./player.js").Player} Player */
/** @typedef {import("./transport.js").Transport} Transport */
/** @typedef {import("./view.js").Views} Views */
/** @typedef {import("./zoom.js").Zoom} Zoom */

/** @type {Record<string, [number, number]>} of a panel, a key press */
const MOVES = { w: [0, 0.1], a: [0.1, 0], s: [0, -0.1], d: [-0.1, 0] };

/**
 * @param {{player: Player, transport: Transport, views: Views, zoom: Zoom, cancel: () => void}} parts
 * @returns {Binding[]}
 */
export function bindingsOf({ player, transport, views, zoom, cancel }) {
  return [
    ...of("Playback", [
      [["Space"], "play or pause", () => player.play()],
      [["ArrowLeft"], "one frame back", () => player.step(-1)],
      [["ArrowRight"], "one frame forward", () => player.step(1)],
      [["Shift+ArrowLeft"], "one second back", () => player.step(-transport.far)],
      [["Shift+ArrowRight"], "one second forward", () => player.step(transport.far)],
      [["Home"], "first frame", () => player.seek(0)],
      [["End"], "last frame that is done", () => player.seek(player.last)],
      [["<", ","], "slower", () => transport.shift(-1)],
      [[">", "."], "faster", () => transport.shift(1)],
      [["l"], "loop over what is done", () => transport.loop()],
      [["n"], "follow the newest frame", () => player.growing && player.goLive(!player.live)],
    ]),
    ...of("View", [
      [["1"], "input alone, and all three again", () => views.toggle("input")],
      [["2"], "mask alone", () => views.toggle("mask")],
      [["3"], "output alone", () => views.toggle("output")],
      [["4"], "input and output, split", () => views.toggle("split")],
      [["0"], "difference of input and output", () => views.toggle("difference")],
      [["+", "="], "zoom in", () => zoom.in()],
      [["-"], "zoom out", () => zoom.out()],
      [["w", "a", "s", "d"], "move the enlarged picture", (key) => zoom.pan(...(MOVES[key] ?? [0, 0]))],
      [["z"], "see all of it", () => zoom.reset()],
      [["f"], "full screen", toggleFullscreen],
    ]),
    ...of("Page", [
      [["o"], "open a video", () => buttonById("choose-video").click()],
      [["Escape"], "cancel what is going on", cancel],
      [["?"], "this help", toggleHelp],
    ]),
  ];
}

/** The panels with their player as large as the screen, and back. */
export function toggleFullscreen() {
  const viewer = htmlById("viewer");
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (!viewer.hidden) viewer.requestFullscreen?.().catch(() => undefined); // refused: nothing changes
}

/**
 * @param {string} group
 * @param {[string[], string, (key: string) => void][]} rows
 * @returns {Binding[]}
 */
function of(group, rows) {
  return rows.map(([keys, does, run]) => ({ keys, does, group, run }));
}
