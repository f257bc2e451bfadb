/** The page's end of the line to its worker. */

/** @typedef {import("../shared/messages.js").Order} Order */
/** @typedef {import("../shared/messages.js").News} News */
/** @typedef {import("../shared/messages.js").Card} Card */
/**
 * @template T
 * @typedef {T extends {request: number} ? Omit<T, "request"> : never} WithoutRequest
 */
/** @typedef {(done: number, total: number) => void} Report */

/** The worker will not do what was asked; `card` says why. */
export class Refused extends Error {
  /** @param {Card} card */
  constructor(card) {
    super(card.title);
    this.card = card;
  }
}

let requests = 0;

/** A number that no earlier request has had. */
export function nextRequest() {
  return ++requests;
}

/** A worker, and the questions it has not answered yet. */
export class WorkerLink {
  /** @type {Worker} */
  #worker;
  /** @type {Map<number, {resolve: (news: News) => void, reject: (error: Error) => void, report?: Report}>} */
  #waiting = new Map();
  dead = false;

  /**
   * @param {(news: News) => void} hear what is no answer
   * @param {(found: string) => void} crashed called once, when the worker is lost
   */
  constructor(hear, crashed) {
    this.#worker = new Worker("worker.js", { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data, hear);
    const lost = (/** @type {string} */ found) => {
      if (this.dead) return;
      this.close();
      crashed(found);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      lost(event.message || "The worker's file could not be loaded.");
    };
    this.#worker.onmessageerror = () => lost("A message between the page and its worker could not be read.");
  }

  /**
   * @param {Order} order
   * @param {Transferable[]} [transfer]
   */
  post(order, transfer = []) {
    if (!this.dead) this.#worker.postMessage(order, transfer);
  }

  /**
   * Ask, and wait for the answer. Rejects with Refused, and where the worker is lost.
   * @param {WithoutRequest<Order>} order
   * @param {Report} [report] of progress
   * @returns {{request: number, answer: Promise<News>}}
   */
  ask(order, report) {
    const request = nextRequest();
    const answer = new Promise((/** @type {(news: News) => void} */ resolve, reject) => {
      if (this.dead) reject(new Error("The worker has stopped."));
      else this.#waiting.set(request, { resolve, reject, report });
    });
    this.post(/** @type {Order} */ ({ ...order, request }));
    return { request, answer };
  }

  /** Stop the worker; what was asked is not answered any more. */
  close() {
    this.dead = true;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(new Error("The worker has stopped."));
    this.#waiting.clear();
  }

  /**
   * @param {News} news
   * @param {(news: News) => void} hear
   */
  #receive(news, hear) {
    if (this.dead) return;
    const asked = "request" in news && news.request !== null ? this.#waiting.get(news.request) : undefined;
    if (!asked) return hear(news);
    if (news.type === "exporting") return asked.report?.(news.done, news.total);
    this.#waiting.delete(/** @type {{request: number}} */ (news).request);
    if (news.type === "refused") asked.reject(new Refused(news.card));
    else asked.resolve(news);
  }
}
