/** The page: puts its parts together, starts the worker, and passes on what each has to say. */

import { showBackend } from "./backend.js";
import { announce } from "./announce.js";
import { readAddress, writeAddress } from "./address.js";
import { bindingsOf, toggleFullscreen } from "./bindings.js";
import { clearCards, showCard, showNotice } from "./cards.js";
import { Changes } from "./changes.js";
import { Controls } from "./controls.js";
import { copyDiagnostics } from "./diagnostics.js";
import { Downloads } from "./downloads.js";
import { watchDrops, watchPickers } from "./drop.js";
import { buttonById } from "./elements.js";
import { closeDialogsOutside, fillHelp, toggleHelp } from "./help.js";
import { sorted } from "./intake.js";
import { bindKeys } from "./keys.js";
import { closeModelDialog, licenceAccepted, showModel, watchModelDialog } from "./model.js";
import { Numbers } from "./numbers.js";
import { description, sampleClip } from "./own_files.js";
import { describeVideo, freshCanvases, namePictures, shapePanels, showLegend, showPictures } from "./panels.js";
import { showParts } from "./parts.js";
import { Player } from "./player.js";
import { Plot } from "./plot.js";
import { showProgress } from "./progress.js";
import { Run } from "./run.js";
import { SettingValues } from "./settings.js";
import { watchTheme } from "./theme.js";
import { watchTips } from "./tooltips.js";
import { Transport } from "./transport.js";
import { Views } from "./view.js";
import { Refused, WorkerLink } from "./worker_link.js";
import { Zoom } from "./zoom.js";

/** @typedef {import("../shared/messages.js").News} News */
/** @typedef {import("../shared/messages.js").Order} Order */
/** @typedef {import("../shared/messages.js").Card} Card */
/** @typedef {import("../shared/messages.js").ModelInfo} ModelInfo */


/** @type {WorkerLink | null} */
let link = null;
let ready = false;
/** @type {import("./progress.js").Loading | null} */
let loading = null;
/** @type {ModelInfo | null} */
let model = null;
let failure = ""; // kind of the last card of this run
let dirty = true;

const post = (/** @type {Order} */ order) => link?.post(order);
const touch = () => {
  dirty = true;
};
const player = new Player(
  (index, request) => post({ type: "show", run: run.number, index, request }),
  (on) => post({ type: "follow", run: run.number, on }),
  touch,
);
const run = new Run(
  post,
  () => values.forWorker("gaze", "paint"),
  () => model?.scales.length ?? 0,
  runChanged,
);
const views = new Views(touch);
const zoom = new Zoom();
const transport = new Transport(player);
const numbers = new Numbers();
const plot = new Plot((index) => player.seek(index));
const downloads = new Downloads(
  () => link,
  () => ({ run: run.number, index: Math.max(player.shown, 0) }),
  tell,
);
// Until the drops are listened to, one must not make the browser leave the page.
const stay = (/** @type {Event} */ event) => event.preventDefault();
for (const kind of ["dragover", "drop"]) addEventListener(kind, stay);
const values = new SettingValues(await description().catch(incomplete));
for (const problem of readAddress(values, location.search)) showNotice(problem, "warning");
writeAddress(values);
const controls = new Controls(values, settingsChanged);
const changes = new Changes(values, { gaze: gazeAgain, paint: paintAgain, backend: restart });

const bindings = bindingsOf({ player, transport, views, zoom, cancel });
watchTips(); // before the keys: Esc puts away a tip first
bindKeys(bindings);
fillHelp(bindings);
closeDialogsOutside();
watchTheme(() => plot.recolour());
watchDrops(take, (problem) => showNotice(problem, "warning"));
watchPickers(take);
watchModelDialog(() => link, () => void swap([]), tell);
buttonById("help-button").addEventListener("click", toggleHelp);
buttonById("fullscreen").addEventListener("click", toggleFullscreen);
buttonById("cancel").addEventListener("click", cancel);
buttonById("sample").addEventListener("click", openSample);
buttonById("reset-settings").addEventListener("click", resetSettings);
document.addEventListener("visibilitychange", () => post({ type: "visible", on: !document.hidden }));
start();
requestAnimationFrame(picture);

/** Without its settings the page still shows what went wrong. @param {unknown} error */
function incomplete(error) {
  fault("The page is not complete", "Its list of settings, controls.json, could not be loaded.", "Build and serve the page again.", error);
  return { settings: [], alternatives: [], stops: [] };
}

/** A new worker, with new canvases. */
function start() {
  link?.close();
  clearCards();
  ready = false;
  loading = { phase: "starting", done: 0, total: 0, bytesPerSecond: 0, cached: false };
  const canvases = freshCanvases();
  link = new WorkerLink(hear, crashed);
  const backend = /** @type {"auto" | "webgpu" | "wasm"} */ (values.get("backend") ?? "auto");
  link.post({ type: "boot", canvases, backend, strict: false }, Object.values(canvases));
  if (document.hidden) post({ type: "visible", on: false });
  touch();
}

/** @param {string} found */
function crashed(found) {
  ready = false;
  loading = null;
  run.lose();
  showCard(
    { title: "The worker stopped", found, attempt: "Start it again; the video can then be opened anew.", kind: "fault" },
    { copy, action: { label: "Start it again", run: start } },
  );
}

/** A new worker, and the video looked at again. */
function restart() {
  start();
  if (run.file && run.phase !== "idle") run.open(run.file, ready);
}

/** @param {News} news */
function hear(news) {
  switch (news.type) {
    case "loading":
      loading = news;
      break;
    case "ready":
      loading = null;
      ready = true;
      showBackend(news.backend);
      takeModel(news.model);
      run.begin();
      break;
    case "backend":
      loading = null;
      showBackend(news.backend);
      break;
    case "notice":
      showNotice(news.text, news.kind);
      break;
    case "shown":
      if (news.run !== run.number) break;
      showPictures(true);
      player.drawn(news.index, news.request);
      namePictures(news.index);
      break;
    case "failed":
      if (run.hear(news)) failed(news.card, news.run === null);
      break;
    case "done":
      if (run.hear(news)) for (const warning of news.warnings) showNotice(warning, "warning");
      break;
    case "exported":
      downloads.save(news);
      break;
    case "opened":
    case "frame":
    case "repainting":
    case "cancelled":
      run.hear(news);
  }
  touch();
}

/**
 * @param {Card} card
 * @param {boolean} whole not of a video: the worker itself
 */
function failed(card, whole) {
  failure = card.kind ?? "fault";
  if (!whole || ready) return showCard(card, { copy });
  loading = null; // it could not start
  link?.close();
  run.lose();
  showCard(card, { copy, action: { label: "Start again", run: restart } });
}

/** @param {"started" | "opened" | "ended" | "changed"} what */
function runChanged(what) {
  touch();
  if (what === "started") {
    failure = "";
    clearCards();
    showPictures(false);
    namePictures(-1);
    player.start(run.track, 0);
  } else if (what === "opened") {
    shapePanels(run.video);
    player.start(run.track, run.video?.fps ?? 0);
  } else if (what === "ended") {
    player.end();
  }
}

/** @param {import("./intake.js").Found[]} found */
async function take(found) {
  const { model: files, video, videos } = sorted(found);
  if (!files.length && !video) {
    return fault("There is nothing to open", "The folder holds no file.", "Drop a video, or the folder of a model.", undefined, "empty");
  }
  if (videos > 1 && video) showNotice(`${videos} videos came; ${video.name} is opened.`, "info");
  if (files.length) await swap(files, video === null);
  if (video) open(video);
}

/**
 * Look at a video, with a new worker where the last one is lost.
 * @param {File} file
 */
function open(file) {
  if (link?.dead) start();
  run.open(file, ready);
}

/**
 * Another model; none: the built-in one. The video is then looked at again.
 * @param {{name: string, file: File}[]} files
 * @param {boolean} [again]
 */
async function swap(files, again = true) {
  if (files.length && !(await licenceAccepted())) return;
  if (!link || !ready) return showNotice("The page is still loading; bring the model when it is ready.", "info");
  closeModelDialog();
  clearCards();
  loading = { phase: "model", done: 0, total: 0, bytesPerSecond: 0, cached: false };
  touch();
  try {
    const news = await link.ask(files.length ? { type: "model", files } : { type: "built-in" }).answer;
    if (news.type !== "model") return;
    takeModel(news.model);
    showNotice(`${news.model.builtIn ? "The built-in model" : news.model.name} is in use.`, "info");
    if (again && run.file && run.phase !== "idle") open(run.file);
  } catch (error) {
    tell(error);
  } finally {
    loading = null;
    touch();
  }
}

/** @param {ModelInfo} next */
function takeModel(next) {
  model = next;
  showModel(next);
  showLegend(next.scales);
  numbers.setScales(next.scales);
}

function settingsChanged() {
  writeAddress(values);
  changes.notice();
  touch();
}

/** Look at the video again, if it could be looked at at all. */
function gazeAgain() {
  if (run.file && (run.video || run.active || failure === "settings")) open(run.file);
}

function paintAgain() {
  if (run.repaint()) player.refresh();
  else if (run.file && failure === "settings") open(run.file);
}

function resetSettings() {
  values.clear();
  controls.update();
  settingsChanged();
}

async function openSample() {
  try {
    open(await sampleClip());
  } catch (error) {
    fault("The sample clip could not be loaded", String(error), "Check that the page is still being served, or choose a video of yours.", error);
  }
}

/** Stop a download where there is one, else the run. */
function cancel() {
  downloads.stop();
  run.cancel();
}

function copy() {
  const { name: _, ...video } = run.video ?? { name: "" };
  const state = { run: run.number, phase: run.phase, frames: run.frames, took: run.took, video, settings: values.forWorker("gaze", "paint") };
  void copyDiagnostics(link, state);
}

/**
 * An answer that is a refusal, or no answer at all.
 * @param {unknown} error
 */
function tell(error) {
  if (error instanceof Refused) showCard(error.card, { copy });
  else if (!link?.dead) fault("Something went wrong in the page", String(error), "Copy the diagnostics, then reload.", error);
}

/**
 * A card of the page's own.
 * @param {string} title
 * @param {string} found
 * @param {string} attempt
 * @param {unknown} error
 * @param {string} [kind]
 */
function fault(title, found, attempt, error, kind = "fault") {
  const detail = error instanceof Error ? (error.stack ?? error.message) : "";
  showCard({ title, found, attempt, kind, detail }, { copy });
}

/**
 * Once a picture of the display: playback goes on, and what changed is shown.
 * @param {number} now ms
 */
function picture(now) {
  requestAnimationFrame(picture);
  player.tick(now);
  if (!dirty) return;
  dirty = false;
  const shows = showParts(run, ready);
  const total = run.total?.frames ?? null;
  buttonById("reset-settings").disabled = values.given().length === 0;
  const line = showProgress(run, loading);
  if (line) announce(line.what, [line.what, ...line.details.filter(Boolean)].join(", "));
  if (!shows) return;
  describeVideo(run.video, run.file?.name ?? "", run.tiles);
  transport.update(total);
  numbers.update(run.track, player.shown, player.displayRate(now));
  plot.update(run.track, total ?? run.frames, player.position);
  const whole = !run.active && !run.repainting && run.frames > 0;
  downloads.update(whole, run.active ? "Ready when the video is done, or cancelled." : "Ready when the painting is done.");
}
