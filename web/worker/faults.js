/** Errors for a person: every one carries a Card. */

/** @typedef {import("../shared/messages.js").Card} Card */

/** An error whose message is for a person, as a card. */
export class Fault extends Error {
  /**
   * @param {Card} card
   * @param {unknown} [cause]
   */
  constructor(card, cause) {
    super(`${card.title} ${card.found} ${card.attempt}`, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    this.card = cause === undefined ? card : { ...card, detail: describe(cause) };
  }
}

/** A video that cannot be shown; `card.kind` says why. */
export class VideoFault extends Fault {}

/** A download that cannot be made. */
export class ExportFault extends Fault {}

/**
 * An error as text for the diagnostics.
 * @param {unknown} error
 */
export function describe(error) {
  return error instanceof Error ? (error.stack ?? `${error.name}: ${error.message}`) : String(error);
}

/**
 * A name from outside for messages: control characters and marks that reorder text as escapes.
 * @param {string} name
 */
export function printable(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/gu, (mark) => `\\u{${(mark.codePointAt(0) ?? 0).toString(16)}}`);
}
