// The page's end of the line to the worker: calls by number, and what comes back for each.

import { ShaderLMError, cancelled, invalidOption } from "./errors.js";

/**
 * @typedef {{ event: string } & Record<string, any>} Told what comes before a call's result: progress, a chunk, a notice
 * @typedef {{ onEvent?: (told: Told) => void, signal?: AbortSignal }} Listening
 */

let assets = new URL("./", import.meta.url);
/** @type {Desk | null} */
let desk = null;

/**
 * Say where the folder `assets/` of a built site lies, if not beside this file. Before the first call of anything else.
 *
 * @param {{ baseUrl: string | URL }} options the address of the folder that holds `assets/`, relative to the page's
 */
export function configure({ baseUrl }) {
  const folder = new URL(baseUrl, globalThis.location?.href ?? import.meta.url);
  assets = new URL(folder.pathname.endsWith("/") ? folder : `${folder}/`);
}

/** Start the worker, which takes a second or two, before a model is chosen. Every other call does it, too. */
export function prepare() {
  openDesk();
}

/** The line to the worker, which is started if need be. @returns {Desk} */
export function openDesk() {
  desk ??= new Desk(startWorker(new URL(SHADERLM_WORKER, assets)));
  return desk;
}

/** @param {URL} url */
function startWorker(url) {
  if (url.origin === globalThis.location.origin) {
    return new Worker(url, { type: "module" });
  }
  // No browser starts a worker of another origin, but each lets one import from there what is meant for all.
  const code = new Blob([`import ${JSON.stringify(url.href)};`], { type: "text/javascript" });
  return new Worker(URL.createObjectURL(code), { type: "module" });
}

/** A worker and the calls to it. One that fails ends, and the next call starts another. */
export class Desk {
  /** @type {Map<number, { resolve: Function, reject: Function, onEvent?: (told: Told) => void }>} */
  #calls = new Map();
  #next = 1;
  #worker;
  #isRetired = false;
  /** @type {ShaderLMError | null} why the worker ended, which all later calls are told */
  #broken = null;

  /** @param {Worker} worker */
  constructor(worker) {
    this.#worker = worker;
    /** @type {Set<(told: Told) => void>} of what belongs to no call that lasts: the compiling of kernels, a lost device */
    this.listeners = new Set();
    worker.addEventListener("message", ({ data }) => this.#received(data));
    worker.addEventListener("error", ({ message }) => this.#broke(message));
  }

  /**
   * The promise of a call's result. An aborted `signal` asks the worker to end it: answers then end early, and all else
   * is rejected.
   *
   * @param {{ call: string } & Record<string, any>} message
   * @param {Listening} [listening]
   * @returns {Promise<any> & { cancel: () => void }}
   */
  call(message, { onEvent, signal } = {}) {
    const id = this.#next++;
    const cancel = () => this.#worker.postMessage({ id: this.#next++, call: "cancel", target: id });
    const promise = new Promise((resolve, reject) => {
      this.#post({ ...message, id });
      this.#calls.set(id, { resolve, reject, onEvent });
    });
    if (signal?.aborted) {
      cancel();
    }
    signal?.addEventListener("abort", cancel);
    const done = promise.finally(() => signal?.removeEventListener("abort", cancel));
    return Object.assign(done, { cancel });
  }

  /**
   * As `call`, for what is soon done: an aborted `signal` rejects it, and its result goes unheard.
   *
   * @param {{ call: string } & Record<string, any>} message
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<any>}
   */
  async ask(message, { signal } = {}) {
    if (signal?.aborted) {
      throw cancelled();
    }
    const result = this.call(message);
    if (!signal) {
      return result;
    }
    /** @type {() => void} */
    let giveUp = () => {};
    const givenUp = new Promise((_, reject) => (giveUp = () => reject(cancelled())));
    signal.addEventListener("abort", giveUp);
    return Promise.race([result, givenUp]).finally(() => signal.removeEventListener("abort", giveUp));
  }

  /** @param {any} data */
  #received({ id, event, result, error, ...rest }) {
    const call = this.#calls.get(id);
    if (event === "unstarted") {
      this.#retire();
    } else if (!call) {
      this.listeners.forEach((listen) => listen({ id, event, ...rest }));
    } else if (event) {
      call.onEvent?.({ event, ...rest });
    } else {
      this.#calls.delete(id);
      error ? call.reject(new ShaderLMError(error)) : call.resolve(result);
      this.#leave();
    }
  }

  /** @param {object} message Throws InvalidOption. */
  #post(message) {
    if (this.#broken) {
      throw this.#broken;
    }
    try {
      this.#worker.postMessage(message);
    } catch (error) {
      const { message: why } = /** @type {Error} */ (error);
      throw invalidOption(`What a call is given must be plain data, without functions and proxies: ${why}`);
    }
  }

  /** Take no further calls, and end the worker once it has answered those that it has. */
  #retire() {
    this.#isRetired = true;
    desk = desk === this ? null : desk;
    this.#leave();
  }

  #leave() {
    if (this.#isRetired && this.#calls.size === 0) {
      this.#worker.terminate();
    }
  }

  /** @param {string} [why] of an exception; a script that did not come tells nothing */
  #broke(why) {
    const error = why
      ? { code: "InternalError", message: `The worker ended: ${why}. Load the model again.` }
      : { code: "NetworkError", message: "The worker could not be fetched. Check the connection, and try again." };
    const broken = (this.#broken ??= new ShaderLMError(error));
    this.#calls.forEach((call) => call.reject(broken));
    this.#calls.clear();
    this.#retire();
  }
}
