/**
 * Loops of runs, each on the state that the one before left, until a flag says stop.
 *
 * Awaiting a flag behind work costs more than a block, so as many are run as it took last time, and only then their flags are read. Those
 * past a stop are undone by going back to an earlier state: what they wrote in place lies after every slot that is looked at, and is
 * overwritten before it is. The next loop may begin with the state that is expected, before it is known.
 */

import { byteLength } from "./gpu_memory.js";
import { Cancelled } from "./trouble.js";

/** @typedef {import("./inference.js").Handle} Handle */
/** @typedef {import("./inference.js").Numbers} Numbers */
/** @typedef {Record<string, Handle>} Handles */
/** @typedef {{first: string, then: string, feeds: Handles, collect: string[], flag: string, limit: number}} Order */

/**
 * A loop under way.
 * @typedef {object} Begun
 * @property {Order} order
 * @property {Handles} given the state that it began with
 * @property {Handles[]} states after each run
 * @property {Promise<Numbers[][]>} reading the numbers of each run
 * @property {number} runs how many were made
 * @property {Handles} fresh what of the state after the last of them was not given
 */

const MOST_AHEAD = 32; // runs before flags are read
const BEYOND = 2; // and where it goes on for longer than the last one did
const HEAVY = 2 ** 28; // bytes in place: a run that nobody needed then costs more than an answer that is awaited

export class Loops {
  /** @type {Map<string, number>} runs that the last loop took, by the graph it began with */
  #lasted = new Map();

  /** @param {import("./inference.js").Inference} inference @param {(graph: string, feeds: Handles) => Promise<Handles>} run */
  constructor(inference, run) {
    this.inference = inference;
    this.run = run;
  }

  /**
   * @param {string} first @param {string} then @param {Handles} feeds @param {Handles} state
   * @param {string[]} collect @param {string} flag @param {number} limit
   * @returns {Promise<Begun>}
   */
  async begin(first, then, feeds, state, collect, flag, limit) {
    const order = { first, then, feeds, collect, flag, limit };
    const given = { ...state };
    const runs = this.inference.device ? Math.min(this.#lasted.get(first) ?? 1, MOST_AHEAD, limit) : 1;
    const launched = await this.#launch(order, given, 0, runs);
    const fresh = Object.fromEntries(Object.entries(launched.states[runs - 1]).filter(([name, handle]) => given[name] !== handle));
    return { order, given, ...launched, runs, fresh };
  }

  /** @param {Begun} begun @returns {Promise<Numbers[][] | undefined>} what was collected, where it ended as expected; then there is nothing to finish */
  async known({ order, given, states, reading, runs }) {
    const numbers = await reading;
    const stop = stopOf(numbers, order);
    if (stop ? stop !== runs : runs < order.limit) return undefined;
    this.#keepOnly(states[runs - 1], [given, ...states]);
    this.#lasted.set(order.first, runs);
    return numbers.map((run) => run.slice(0, order.collect.length));
  }

  /** @param {Begun} begun @returns {Promise<{state: Handles, collected: Numbers[][]}>} */
  async finish({ order, given, states, reading }) {
    const collected = [];
    let state = given;
    try {
      for (;;) {
        const numbers = await reading;
        const stop = stopOf(numbers, order);
        const end = stop || numbers.length;
        this.#keepOnly(states[end - 1], [state, ...states]);
        state = states[end - 1];
        states = [];
        collected.push(...numbers.slice(0, end).map((run) => run.slice(0, order.collect.length)));
        if (stop || collected.length >= order.limit) break;
        const more = Math.min(this.#beyond(order, state), order.limit - collected.length);
        ({ states, reading } = await this.#launch(order, state, collected.length, more));
      }
    } catch (error) {
      this.#keepOnly(state, [state, ...states]);
      this.inference.release(Object.values(state));
      throw error;
    }
    this.#lasted.set(order.first, collected.length);
    return { state, collected };
  }

  /** @param {Begun} begun */
  abandon({ given, states }) {
    this.#keepOnly(given, [given, ...states]);
  }

  /** Runs to be made after those that were expected. @param {Order} order @param {Handles} state */
  #beyond({ then }, state) {
    if (!this.inference.device) return 1;
    const bytes = this.inference.manifest.graphs[then].in_place.reduce((sum, name) => sum + byteLength(state[name]), 0);
    return bytes > HEAVY ? 1 : BEYOND;
  }

  /**
   * Make runs, and begin to read what each gave, in one round trip.
   * @param {Order} order @param {Handles} state @param {number} done runs before @param {number} count
   * @returns {Promise<{states: Handles[], reading: Promise<Numbers[][]>}>} by run
   */
  async #launch({ first, then, feeds, collect, flag }, state, done, count) {
    const wanted = [...collect, flag];
    const { inference } = this;
    /** @type {Handles[]} */
    const states = [];
    /** @type {Handle[]} */
    const small = [];
    /** @type {Handle[]} */
    const asked = [];
    try {
      let current = state;
      for (let run = done; run < done + count; run += 1) {
        if (inference.cancelled) throw new Cancelled("stopped");
        const outputs = await this.run(run ? then : first, { ...feeds, ...current });
        current = { ...current };
        states.push(current);
        for (const [name, handle] of Object.entries(outputs)) {
          if (name.startsWith("next.")) current[name.slice(5)] = handle;
          else small.push(handle);
        }
        asked.push(...wanted.map((name) => outputs[name] ?? outputs[`next.${name}`]));
      }
    } catch (error) {
      this.#keepOnly(state, [state, ...states]);
      inference.release(small);
      throw error;
    }
    const reading = inference.memory
      .read(asked)
      .then((numbers) => states.map((_, run) => numbers.slice(run * wanted.length, (run + 1) * wanted.length)))
      .finally(() => inference.release(small));
    reading.catch(() => undefined); // told to whoever awaits it
    return { states, reading };
  }

  /** Release the tensors of states that one of them does not have. @param {Handles} kept @param {Handles[]} states */
  #keepOnly(kept, states) {
    const stay = new Set(Object.values(kept));
    const gone = new Set(states.flatMap((state) => Object.values(state)));
    this.inference.release([...gone].filter((handle) => !stay.has(handle)));
  }
}

/** The first run whose flag is not 0, counted from one; 0: none. @param {Numbers[][]} numbers @param {Order} order */
function stopOf(numbers, { collect }) {
  return 1 + numbers.findIndex((run) => new Int32Array(run[collect.length].data.buffer, run[collect.length].data.byteOffset, 1)[0]);
}
