// A model on its way: downloaded, put on the GPU, its shaders compiled; paused, gone on with, given up, tried again.

import { find, show } from "./dom.js";
import { sum } from "./kept_models.js";
import { problem } from "./problem.js";
import { Speed } from "./speed.js";
import { texts } from "./texts.js";

/** @typedef {import("../shaderlm.js").Model} Model */
/** @typedef {Pick<import("../shaderlm.js").LoadOptions, "signal" | "onProgress">} Watching */

/**
 * @typedef {object} Source what to load
 * @property {string} name as people know it
 * @property {import("../shaderlm.js").Source} place
 * @property {string} [url] that it is kept by, the first one where it lies in several files; Files have none
 * @property {import("../shaderlm.js").LoadOptions["expected"]} [expected] what the catalogue publishes of it
 * @property {boolean} [store] of Files: keep a copy
 */

export class Loading {
  /** @type {Source | null} */
  #source = null;
  /** @type {AbortController | null} */
  #controller = null;
  #speed = new Speed();
  /** @type {Map<string, { done: number, total: number, from: string }>} of each of the model's files, as last told */
  #files = new Map();
  #given;

  /**
   * @param {object} given
   * @param {(source: Source, options: Watching) => Promise<Model>} given.load
   * @param {(model: Model, source: Source) => void} given.onReady
   * @param {() => void} given.onEnd the reader has given up, or put the error away
   */
  constructor(given) {
    this.#given = given;
    find("pause").addEventListener("click", () => this.#pause());
    find("retry").addEventListener("click", () => this.#source && this.start(this.#source));
    find("give-up").addEventListener("click", () => this.#giveUp());
  }

  get isUnderWay() {
    return this.#controller !== null;
  }

  /** @param {Source} source */
  async start(source) {
    this.#controller?.abort();
    this.#source = source;
    this.#speed = new Speed();
    this.#files.clear();
    const controller = (this.#controller = new AbortController());
    this.#begin(source);
    try {
      /** @param {import("../shaderlm.js").Progress} progress */
      const onProgress = (progress) => !controller.signal.aborted && this.#progress(progress);
      const model = await this.#given.load(source, { signal: controller.signal, onProgress });
      if (controller.signal.aborted) {
        await model.unload(); // it was ready in the very moment in which nobody wanted it any more
      } else {
        this.#close();
        this.#given.onReady(model, source);
      }
    } catch (error) {
      if (!controller.signal.aborted) {
        this.#failed(source, error);
      }
    }
  }

  /** @param {Source} source */
  #begin({ name, url }) {
    show(find("loading"));
    find("loading-title").textContent = texts.loadingTitle(name);
    find("loading-error").replaceChildren();
    show(find("loading-error"), false);
    show(find("pause"), Boolean(url));
    show(find("retry"), false);
    find("give-up").textContent = texts.cancel;
    find("loading").classList.remove("paused", "failed");
    find("download-facts").textContent = texts.starting;
    find("compile-facts").textContent = texts.waiting;
    find("download-bar").removeAttribute("value");
    Object.assign(find("compile-bar"), { value: 0, max: 1 });
    find("loading-title").focus({ preventScroll: true });
  }

  /** @param {import("../shaderlm.js").Progress} progress */
  #progress({ stage, done, total, from = "network", file = "" }) {
    if (stage === "download") {
      this.#files.set(file, { done, total, from });
      this.#downloaded();
    } else if (stage === "compile") {
      Object.assign(find("compile-bar"), { max: Math.max(total, 1), value: done });
      find("compile-facts").textContent = texts.compileFacts(done, total);
    }
  }

  /** All files together; `total` is 0 while nobody knows. */
  get #amount() {
    const files = [...this.#files.values()];
    const total = files.every((file) => file.total) ? sum(files.map((file) => file.total)) : 0;
    const network = files.find(({ from }) => from === "network");
    return { done: sum(files.map(({ done }) => done)), total, from: (network ?? files[0])?.from };
  }

  #downloaded() {
    const { done, total, from } = this.#amount;
    if (from === "network") {
      this.#speed.add(done);
    } else {
      show(find("pause"), false);
    }
    if (total) {
      Object.assign(find("download-bar"), { max: total, value: done });
    }
    const speed = from === "network" ? this.#speed.perSecond : null;
    const left = speed && total ? (total - done) / speed : null;
    find("download-facts").textContent = texts.downloadFacts({ done, total, from, speed, left });
  }

  #pause() {
    this.#controller?.abort(); // what has arrived is stored, and loading again goes on behind it
    find("loading").classList.add("paused");
    find("loading-title").textContent = texts.pausedTitle(this.#source?.name);
    find("download-facts").textContent = this.#files.size ? texts.downloadFacts(this.#amount) : "";
    this.#offer(texts.goOn);
  }

  /** @param {Source} source @param {any} error */
  #failed({ name }, error) {
    find("loading").classList.add("failed");
    find("loading-title").textContent = texts.failedTitle(name);
    find("loading-error").replaceChildren(problem(error, []));
    show(find("loading-error"));
    this.#offer(texts.again);
    find("give-up").textContent = texts.forget;
  }

  #offer(text) {
    show(find("pause"), false);
    show(find("retry"));
    find("retry").textContent = text;
    find("retry").focus();
  }

  #giveUp() {
    this.#controller?.abort();
    this.#close();
    this.#given.onEnd();
  }

  #close() {
    this.#controller = null;
    show(find("loading"), false);
  }
}
