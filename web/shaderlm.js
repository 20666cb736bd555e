// Language models on WebGPU: `load` a model, then `complete`, `chat`, or stream. Everything runs in a worker.
//
//   import { load } from "./shaderlm.js";
//   const model = await load("model.gguf", { onProgress: ({ stage, done, total }) => console.log(stage, done / total) });
//   for await (const chunk of model.streamChat([{ role: "user", content: "Hello!" }])) console.log(chunk.text);

import { configure, openDesk, prepare } from "./face/desk.js";
import { ShaderLMError, invalidOption } from "./face/errors.js";
import { Model } from "./face/model.js";

export { Model, ShaderLMError, configure, prepare };

/**
 * @typedef {import("./face/model.js").Message} Message
 * @typedef {import("./face/model.js").Options} Options
 * @typedef {import("./face/model.js").ChatOptions} ChatOptions
 * @typedef {import("./face/model.js").Chunk} Chunk
 * @typedef {import("./face/model.js").Completion} Completion
 * @typedef {import("./face/model.js").TokenLogprobs} TokenLogprobs
 * @typedef {import("./face/openai.js").WholeRequest} ChatCompletionRequest
 * @typedef {import("./face/openai.js").StreamRequest} ChatCompletionStreamRequest
 * @typedef {import("./face/openai.js").ChatCompletion} ChatCompletion
 * @typedef {import("./face/openai.js").ChatCompletionChunk} ChatCompletionChunk
 *
 * @typedef {string | URL | File | (string | File)[]} Source the URL of a GGUF file, or of the first of several; or a File
 *   that a reader chose; or all Files, or all URLs, of a model that lies in several
 *
 * @typedef {object} LoadOptions
 * @property {number} [context] tokens that a prompt and its answer may have together; by default the model's own, or what
 *   memory allows
 * @property {"f16" | "f32"} [kv_dtype] precision of the KV cache
 * @property {"exact" | "fast"} [arithmetic] fast may round what a prompt's linears read to bytes, where that is faster
 * @property {boolean} [tuning] time kernels for a second of a model's first load, and compute by the fastest ones
 * @property {Expected | Expected[]} [expected] what is published of a URL's file, or of each of a model's files in their
 *   order: one that differs is refused
 * @property {boolean} [verify] hash everything that is stored, not only a sample
 * @property {boolean} [store] keep it in this browser; by default a URL's file is kept and a local one is not
 * @property {boolean} [refresh] ask the server whether it has another file by now, though this one is stored whole
 * @property {(progress: Progress) => void} [onProgress] told until the model is loaded
 * @property {(notice: Notice) => void} [onNotice] told, also later, what went wrong without ending anything
 * @property {AbortSignal} [signal] rejects with the code "Cancelled", and frees everything
 *
 * @typedef {object} Expected
 * @property {number} size bytes
 * @property {number} chunk_size bytes
 * @property {string[]} chunk_sha256 of each chunk, in hexadecimal
 *
 * @typedef {object} Progress
 * @property {"download" | "load" | "compile"} stage of bytes that come, bytes on the GPU, kernels
 * @property {number} done
 * @property {number} total
 * @property {"network" | "cache" | "file"} [from] of a download: where the bytes come from
 * @property {string} [file] of a download: the name of the file; those of one model come side by side
 *
 * @typedef {object} Notice
 * @property {string} code
 * @property {string} message
 *
 * @typedef {object} StoredModel
 * @property {string} key
 * @property {string} url
 * @property {string} name
 * @property {number} size bytes of the file, 0 if nobody knows yet
 * @property {number} stored bytes that it takes
 * @property {boolean} complete
 * @property {number} last_used milliseconds since 1970
 *
 * @typedef {object} Inspection what a model's file says of itself; the Python API's page tells of every part
 * @property {string} file
 * @property {number} bytes
 * @property {string} name
 * @property {string} architecture
 * @property {number} parameters
 * @property {{ type: string, tensors: number, values: number, bytes: number }[]} types
 * @property {Record<string, any>} hyperparameters
 * @property {string} rope
 * @property {{ model: string, pre: string, tokens: number, bos: string | null, ends: string[], add_bos: boolean } | null}
 *   tokenizer
 * @property {number | null} chat_template characters
 * @property {Record<string, any> | null} memory
 * @property {Record<string, any> | null} adapter null where there is none
 * @property {"runs" | "runs with a smaller context" | "does not run"} verdict
 * @property {string[]} problems what keeps it from running, each with what to do
 */

/**
 * Load a model.
 *
 * @param {Source} source
 * @param {LoadOptions} [options]
 * @returns {Promise<Model>}
 */
export async function load(source, { onProgress, onNotice, signal, expected, verify, store, refresh, ...options } = {}) {
  const desk = openDesk();
  /** @type {number | undefined} of the model, once it is loaded, and of the call that loaded it */
  let number;
  /** @param {any} told */
  const onEvent = ({ id, event, ...told }) => {
    const isOfOther = id !== undefined && id !== number;
    if (event === "notice" && !isOfOther) {
      onNotice?.(told);
    } else if (event === "progress" && number === undefined && !isOfOther) {
      onProgress?.(told);
    }
  };
  desk.listeners.add(onEvent);
  try {
    const message = { call: "load", source: placeOf(source), expected, file_options: { verify, store, refresh }, options };
    const facts = await desk.call(message, { onEvent, signal });
    number = facts.model;
    return new Model(desk, facts, onEvent);
  } catch (error) {
    desk.listeners.delete(onEvent);
    throw error;
  }
}

/**
 * What a model's file says of itself, what it would take to run it, and whether it would run here. Reads the headers
 * alone, and stores nothing.
 *
 * @param {Source} source
 * @param {{ context?: number, kv_dtype?: "f16" | "f32", signal?: AbortSignal }} [options]
 * @returns {Promise<Inspection>}
 */
export async function inspect(source, { signal, ...options } = {}) {
  const message = { call: "inspect", source: placeOf(source), file_options: { store: false }, options };
  return openDesk().call(message, { signal });
}

/**
 * What is kept of models in this browser, the last used first.
 *
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<StoredModel[]>}
 */
export function listModels({ signal } = {}) {
  return openDesk().ask({ call: "list_models" }, { signal });
}

/**
 * Free the space of a model. One that is loaded goes on working.
 *
 * @param {string | URL} url as listed
 * @param {{ signal?: AbortSignal }} [options]
 * @returns {Promise<boolean>} whether it was there
 */
export function deleteModel(url, { signal } = {}) {
  return openDesk().ask({ call: "delete_model", url: String(url) }, { signal });
}

/**
 * @param {Source} source
 * @returns {string | (string | File)[]}
 */
function placeOf(source) {
  if (Array.isArray(source)) {
    return source.map((one) => (one instanceof Blob ? one : addressOf(one)));
  }
  return source instanceof Blob ? [source] : addressOf(source);
}

/**
 * @param {string | URL} url
 * @returns {string}
 */
function addressOf(url) {
  try {
    return new URL(url, globalThis.location?.href).href;
  } catch {
    throw invalidOption(`${url} is no address of a model. Give a URL, a File, or all Files of one model.`);
  }
}
