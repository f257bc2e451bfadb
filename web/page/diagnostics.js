/** A report to paste into a bug: what the worker knows, what the browser is, and what went wrong lately. */

import { byId } from "./elements.js";
import { cardsShown, showNotice } from "./cards.js";

/** @typedef {import("./worker_link.js").WorkerLink} WorkerLink */

const PATIENCE = 3000; // ms for a worker that may be stuck

/**
 * Copy the report; where the clipboard is refused, show it to be copied by hand.
 * @param {WorkerLink | null} link
 * @param {Record<string, unknown>} state of the page
 */
export async function copyDiagnostics(link, state) {
  const report = { ...(await ofWorker(link)), page: { ...state, cards: cardsShown }, browser: ofBrowser() };
  const text = JSON.stringify(report, null, 1);
  try {
    await navigator.clipboard.writeText(text);
    showNotice("The diagnostics are in the clipboard.", "info");
  } catch {
    const dialog = byId("diagnostics", HTMLDialogElement);
    const area = byId("diagnostics-text", HTMLTextAreaElement);
    area.value = text;
    dialog.showModal();
    area.select();
  }
}

/**
 * @param {WorkerLink | null} link
 * @returns {Promise<Record<string, unknown>>}
 */
async function ofWorker(link) {
  if (!link || link.dead) return { worker: "stopped" };
  const late = new Promise((resolve) => setTimeout(resolve, PATIENCE, null));
  try {
    const news = await Promise.race([link.ask({ type: "diagnostics" }).answer, late]);
    return news?.type === "diagnostics" ? news.report : { worker: `no answer within ${PATIENCE} ms` };
  } catch (error) {
    return { worker: String(error) };
  }
}

function ofBrowser() {
  return {
    userAgent: navigator.userAgent,
    languages: navigator.languages,
    cores: navigator.hardwareConcurrency,
    secureContext: isSecureContext,
    crossOriginIsolated,
    webgpu: "gpu" in navigator,
    webcodecs: "VideoDecoder" in window,
    window: [innerWidth, innerHeight],
    devicePixelRatio,
  };
}
