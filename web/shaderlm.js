// Language models on WebGPU: `load` a model, then `complete`, `chat`, or stream. Everything runs in a worker.
//
//   import { load } from "./shaderlm.js";
//   const model = await load("model.gguf", { onProgress: ({ stage, done, total }) => console.log(stage, done / total) });
//   for await (const chunk of model.streamChat([{ role: "user", content: "Hello!" }])) console.log(chunk.text);

/* global SHADERLM_WORKER */

/** What went wrong: `code` is the name of an error class of the Python package, such as "OutOfMemory". */
export class ShaderLMError extends Error {
  /** @param {{ code: string, message: string, partial?: object }} told */
  constructor({ code, message, partial }) {
    super(message);
    this.name = "ShaderLMError";
    this.code = code;
    /** The answer so far, where the context was full. */
    this.partial = partial ?? undefined;
  }
}

let assets = new URL("./", import.meta.url);
let worker = null;

/** Where the folder `assets/` of a built site lies, if not beside this file. Before the first `load`. */
export function configure({ baseUrl }) {
  assets = new URL(baseUrl, globalThis.location?.href ?? import.meta.url);
}

/** Start the worker, which takes a second or two, before a model is chosen. */
export function prepare() {
  worker ??= new Desk(new Worker(new URL(SHADERLM_WORKER, assets), { type: "module" }));
  return worker;
}

// Calls to the worker, by number.
class Desk {
  constructor(worker) {
    this.worker = worker;
    this.calls = new Map();
    this.next = 1;
    this.listeners = new Set(); // of what belongs to no call: the compiling of kernels
    worker.addEventListener("message", ({ data }) => this.received(data));
    worker.addEventListener("error", (event) => this.broke(event.message || "the worker did not start"));
  }

  received({ id, event, result, error, ...rest }) {
    const call = this.calls.get(id);
    if (!call) {
      this.listeners.forEach((listen) => listen({ event, ...rest }));
    } else if (event) {
      call.onEvent?.({ event, ...rest });
    } else {
      this.calls.delete(id);
      error ? call.reject(new ShaderLMError(error)) : call.resolve(result);
    }
  }

  broke(message) {
    const error = new ShaderLMError({ code: "InternalError", message: `The worker ended: ${message}. Reload the page.` });
    this.calls.forEach((call) => call.reject(error));
    this.calls.clear();
    worker = null;
  }

  // The promise of a call's result; `onEvent` gets what comes before. An aborted `signal` asks the worker to end it.
  call(message, { onEvent, signal } = {}) {
    const id = this.next++;
    const cancel = () => this.worker.postMessage({ id: this.next++, call: "cancel", target: id });
    const promise = new Promise((resolve, reject) => this.calls.set(id, { resolve, reject, onEvent }));
    this.worker.postMessage({ ...message, id });
    if (signal?.aborted) {
      cancel();
    }
    signal?.addEventListener("abort", cancel);
    const done = promise.finally(() => signal?.removeEventListener("abort", cancel));
    return Object.assign(done, { cancel });
  }
}

/**
 * Load a model from a URL of a GGUF file (the first of several) or a File that the reader chose.
 * @param {string | URL | File} source
 * @param {{ context?: number, kv_dtype?: "f16" | "f32", verify?: boolean, store?: boolean, expected?: object,
 *   onProgress?: (progress: object) => void, onNotice?: (notice: object) => void, signal?: AbortSignal }} [options]
 * @returns {Promise<Model>}
 */
export async function load(source, { onProgress, onNotice, signal, expected, verify, store, ...options } = {}) {
  const desk = prepare();
  const onEvent = ({ event, ...told }) => (event === "notice" ? onNotice?.(told) : onProgress?.(told));
  desk.listeners.add(onEvent);
  try {
    const place = source instanceof Blob ? source : new URL(source, globalThis.location?.href).href;
    const file_options = { verify, store };
    const message = { call: "load", source: place, expected, file_options, options };
    return new Model(desk, await desk.call(message, { onEvent, signal }), onEvent);
  } catch (error) {
    desk.listeners.delete(onEvent);
    throw error;
  }
}

/**
 * What is kept of models in this browser, the last used first.
 * @returns {Promise<{ key: string, url: string, name: string, size: number, stored: number, complete: boolean,
 *   last_used: number }[]>}
 */
export function listModels() {
  return prepare().call({ call: "list_models" });
}

/** Free the space of a model, by its address as listed. Gives whether it was there. A loaded one goes on working. */
export function deleteModel(url) {
  return prepare().call({ call: "delete_model", url });
}

/** A loaded model. Calls queue. Options carry the names of the Python package: max_tokens, temperature, top_p, ... */
export class Model {
  constructor(desk, facts, listener) {
    this.desk = desk;
    this.listener = listener; // of what happens to the model between calls: its device was lost
    Object.assign(this, facts); // model, name, context, trained_context, adapter, memory, warnings
  }

  /** Go on from a text or from token ids, chunk by chunk. Leaving the loop cancels. */
  stream(prompt, options = {}) {
    return this.answer("stream", { prompt }, options);
  }

  /** The next message of a chat, chunk by chunk. Leaving the loop cancels. */
  streamChat(messages, options = {}) {
    return this.answer("stream_chat", { messages }, options);
  }

  /** As `stream`, at once: the promise of the completion. */
  complete(prompt, options = {}) {
    return this.whole("stream", { prompt }, options);
  }

  /** As `streamChat`, at once. */
  chat(messages, options = {}) {
    return this.whole("stream_chat", { messages }, options);
  }

  /** Token ids of a text. */
  tokenize(text, { add_special = true, parse_special = false } = {}) {
    return this.desk.call({ call: "tokenize", model: this.model, text, options: { add_special, parse_special } });
  }

  /** The text of token ids. */
  detokenize(tokens) {
    return this.desk.call({ call: "detokenize", model: this.model, tokens: Array.from(tokens) });
  }

  /** How many GPU objects the model holds, by kind, and their bytes. */
  liveObjects() {
    return this.desk.call({ call: "live_objects", model: this.model });
  }

  /** Free the model's memory. What it was loaded from stays in the cache. */
  unload() {
    this.desk.listeners.delete(this.listener);
    return this.desk.call({ call: "unload", model: this.model });
  }

  whole(call, input, { signal, onProgress, ...options }) {
    const onEvent = ({ event, ...told }) => event === "progress" && onProgress?.(told);
    return this.desk.call({ call, model: this.model, ...input, options }, { onEvent, signal });
  }

  async *answer(call, input, { signal, onProgress, ...options }) {
    const chunks = [];
    let wake = () => {};
    const onEvent = ({ event, ...told }) => {
      if (event === "chunk") {
        chunks.push(told);
        wake();
      } else if (event === "progress") {
        onProgress?.(told);
      }
    };
    let completion = null;
    const done = this.desk.call({ call, model: this.model, ...input, options }, { onEvent, signal });
    const ended = done.then((result) => (completion = result)).finally(() => wake());
    ended.catch(() => {}); // thrown below
    try {
      while (!completion) {
        while (chunks.length) {
          yield chunks.shift();
        }
        await Promise.race([ended, new Promise((resolve) => (wake = resolve))]);
      }
      yield* chunks;
      yield { text: "", tokens: [], completion };
    } finally {
      if (!completion) {
        done.cancel();
      }
    }
  }
}
