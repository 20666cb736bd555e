// A model on its way: downloaded, put on the GPU, its shaders compiled; paused, gone on with, given up, tried again.

import { find, show } from "./dom.js";
import { problem } from "./problem.js";
import { Speed } from "./speed.js";
import { texts } from "./texts.js";

/**
 * @typedef {object} Source what to load
 * @property {string} name as people know it
 * @property {string | File} place
 * @property {object} [expected] what the catalogue publishes of the file
 * @property {boolean} [store] of a File: keep a copy
 */

export class Loading {
  #source = null;
  #controller = null;
  #speed = new Speed();
  #files = new Map(); // how much there is of each file of the model, as last told
  #given;

  /**
   * @param {object} given
   * @param {(source: Source, options: object) => Promise<object>} given.load
   * @param {(model: object, source: Source) => void} given.onReady
   * @param {() => void} given.onEnd the reader has given up, or put the error away
   */
  constructor(given) {
    this.#given = given;
    find("pause").addEventListener("click", () => this.#pause());
    find("retry").addEventListener("click", () => this.start(this.#source));
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
    this.#begin();
    try {
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
        this.#failed(error);
      }
    }
  }

  #begin() {
    show(find("loading"));
    find("loading-title").textContent = texts.loadingTitle(this.#source.name);
    find("loading-error").replaceChildren();
    show(find("loading-error"), false);
    show(find("pause"), typeof this.#source.place === "string");
    show(find("retry"), false);
    find("give-up").textContent = texts.cancel;
    find("loading").classList.remove("paused", "failed");
    find("download-facts").textContent = texts.starting;
    find("compile-facts").textContent = texts.waiting;
    find("download-bar").removeAttribute("value");
    Object.assign(find("compile-bar"), { value: 0, max: 1 });
    find("loading-title").focus({ preventScroll: true });
  }

  #progress({ stage, done, total, from, file }) {
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
    this.#controller.abort(); // what has arrived is stored, and loading again goes on behind it
    find("loading").classList.add("paused");
    find("loading-title").textContent = texts.pausedTitle(this.#source.name);
    find("download-facts").textContent = this.#files.size ? texts.downloadFacts(this.#amount) : "";
    this.#offer(texts.goOn);
  }

  #failed(error) {
    find("loading").classList.add("failed");
    find("loading-title").textContent = texts.failedTitle(this.#source.name);
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
    this.#controller.abort();
    this.#close();
    this.#given.onEnd();
  }

  #close() {
    this.#controller = null;
    show(find("loading"), false);
  }
}

function sum(numbers) {
  return numbers.reduce((all, number) => all + number, 0);
}
