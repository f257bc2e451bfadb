/** Errors as cards: what happened, what was found, what to try. And notices: one sentence that can be put away. */

import { htmlById, icon, make } from "./elements.js";

/** @typedef {import("../shared/messages.js").Card} Card */

const STAY = 12_000; // ms that a notice stays which asks for nothing
const MOST_NOTICES = 8;
/** @type {{at: string, title: string, found: string, kind: string, detail: string}[]} for the diagnostics */
export const cardsShown = [];

/**
 * @param {Card} card
 * @param {{copy: () => void, action?: {label: string, run: () => void}}} options copy: the diagnostics
 */
export function showCard(card, { copy, action }) {
  cardsShown.push({
    at: new Date().toISOString(),
    title: card.title,
    found: card.found,
    kind: card.kind ?? "",
    detail: card.detail ?? "",
  });
  if (cardsShown.length > 20) cardsShown.shift();
  const buttons = make("div", { class: "buttons" });
  if (action) buttons.append(button(action.label, "primary", action.run));
  buttons.append(button("Copy diagnostics", "quiet", copy));
  const element = make(
    "div",
    { class: "card", role: "alert", "data-kind": card.kind ?? "fault" },
    icon("error"),
    make(
      "div",
      { class: "card-text" },
      make("h2", {}, card.title),
      make("dl", {}, ...entry("Found", card.found), ...entry("Try", card.attempt)),
      buttons,
    ),
  );
  element.append(closer("Put this away", element));
  htmlById("cards").replaceChildren(element);
  element.scrollIntoView({ block: "nearest" });
}

/** Put away what is shown. */
export function clearCards() {
  htmlById("cards").replaceChildren();
}

/**
 * @param {string} text
 * @param {"info" | "warning"} kind
 */
export function showNotice(text, kind) {
  const notices = htmlById("notices");
  for (const other of notices.children) if (other.firstElementChild?.nextElementSibling?.textContent === text) other.remove();
  const element = make("div", { class: "notice", "data-kind": kind }, icon(kind === "warning" ? "warning" : "info"), make("p", {}, text));
  element.append(closer("Put this notice away", element));
  notices.append(element);
  if (kind === "info") setTimeout(() => element.remove(), STAY);
  while (notices.children.length > MOST_NOTICES) notices.firstElementChild?.remove();
}

/**
 * @param {string} term
 * @param {string} text
 */
function entry(term, text) {
  return text ? [make("dt", {}, term), make("dd", {}, text)] : [];
}

/**
 * @param {string} label
 * @param {string} look
 * @param {() => void} run
 */
function button(label, look, run) {
  const element = make("button", { type: "button", class: look }, label);
  element.addEventListener("click", run);
  return element;
}

/**
 * @param {string} label
 * @param {HTMLElement} what
 */
function closer(label, what) {
  const element = make("button", { type: "button", class: "icon-button", "aria-label": label }, icon("close"));
  element.addEventListener("click", () => what.remove());
  return element;
}
