// A loaded model, and what its answers are made of. Names are those of the Python package.

import { chatOf } from "./openai.js";

/**
 * @typedef {object} Message a message of a chat
 * @property {string} role "system", "user", "assistant", "tool"
 * @property {string | { type: "text", text: string }[] | null} [content]
 * @property {object[]} [tool_calls] what an assistant called
 * @property {string} [tool_call_id]
 * @property {string} [name]
 *
 * @typedef {object} Options how to answer; each is the Python package's option of this name
 * @property {number | null} [max_tokens] of the answer; null goes on to its end or the context's
 * @property {number} [temperature] 0 takes the likeliest token
 * @property {number} [top_k]
 * @property {number} [top_p]
 * @property {number} [min_p]
 * @property {number} [repeat_penalty]
 * @property {number} [frequency_penalty]
 * @property {number} [presence_penalty]
 * @property {number} [repeat_last_n]
 * @property {number | null} [seed] null draws one
 * @property {string | string[] | null} [stop] strings that end the answer; they are not part of it
 * @property {Record<number, number> | null} [logit_bias] by token
 * @property {number | null} [logprobs] of how many of the likeliest tokens; null gives none
 * @property {"error" | "shift"} [on_context_full] throw ContextFull, or go on from the younger half of the context
 * @property {boolean} [reuse_prefix] keep keys and values for prompts that begin alike, and take up what others left
 * @property {AbortSignal} [signal] ends the answer, whose `finish_reason` then is "cancelled"
 * @property {(progress: PromptProgress) => void} [onProgress] told how much of the prompt is done
 *
 * @typedef {object} TemplateOptions what a chat's answer can have besides; both go to the model's chat template
 * @property {object[] | null} [tools] definitions of functions that the model may call
 * @property {Record<string, unknown> | null} [chat_template_kwargs] what else a template reads
 *
 * @typedef {Options & TemplateOptions} ChatOptions
 *
 * @typedef {object} PromptProgress
 * @property {"prefill"} stage
 * @property {number} done tokens of the prompt
 * @property {number} total
 *
 * @typedef {object} TokenLogprobs a token of an answer
 * @property {number} token
 * @property {number} logprob natural, of the logits after penalties and bias
 * @property {[token: number, logprob: number][]} top the likeliest tokens in its place, the likeliest first
 *
 * @typedef {object} Chunk a piece of an answer
 * @property {string} text
 * @property {number[]} tokens whose text this is; several where it was held back
 * @property {string} [reasoning] of a chat: what the model writes to itself before it answers
 * @property {TokenLogprobs[]} [logprobs] of these tokens, if asked for
 * @property {Completion} [completion] the whole answer, in the last chunk, which is empty
 *
 * @typedef {object} Completion a whole answer
 * @property {string} text up to the stop string that ended it
 * @property {string} reasoning of a chat: what came before the text
 * @property {number[]} tokens without the end token
 * @property {"stop" | "length" | "cancelled"} finish_reason
 * @property {{ prompt_tokens: number, completion_tokens: number, reused_tokens: number }} usage
 * @property {{ time_to_first_token: number, prefill_tokens_per_second: number, decode_tokens_per_second: number }} timings
 * @property {number} seed gives the same answer again, where `provenance` is the same
 * @property {Record<string, any>} provenance what computed the answer
 * @property {TokenLogprobs[]} logprobs one for each token, if asked for
 *
 * @typedef {object} AdapterFacts
 * @property {string} name
 * @property {string} kind "software" or "unknown"
 * @property {string[]} features WebGPU's, that the adapter has
 *
 * @typedef {object} ModelFacts
 * @property {number} model
 * @property {string} name
 * @property {number} context
 * @property {number} trained_context
 * @property {AdapterFacts} adapter
 * @property {Record<string, any>} memory
 * @property {string[]} warnings
 */

/** A loaded model, as `load` gives it. Calls queue. */
export class Model {
  #desk;
  #number;
  #listener;

  /**
   * @param {import("./desk.js").Desk} desk
   * @param {ModelFacts} facts
   * @param {(told: import("./desk.js").Told) => void} listener of what happens to it between calls
   */
  constructor(desk, facts, listener) {
    this.#desk = desk;
    this.#number = facts.model;
    this.#listener = listener;
    /** The model's file. */
    this.name = facts.name;
    /** Tokens that a prompt and its answer may have together. */
    this.context = facts.context;
    /** Tokens that the model's file allows; `context` is less where memory asked for it, or the caller. */
    this.trained_context = facts.trained_context;
    /** The adapter that it runs on. */
    this.adapter = facts.adapter;
    /** Bytes that it takes with its whole context in use, by part. */
    this.memory = facts.memory;
    /** What a person should know: kernels that compute wrongly on this adapter and are not used. */
    this.warnings = facts.warnings;
    /**
     * As `streamChat`, at once: the promise of the completion. `chat.completions.create` is the same in OpenAI's shape.
     *
     * @type {import("./openai.js").Chat}
     */
    this.chat = chatOf(this, (messages, options = {}) => this.#whole("stream_chat", { messages }, options));
  }

  /**
   * Go on from a text or from token ids, chunk by chunk. Leaving the loop cancels.
   *
   * @param {string | number[]} prompt
   * @param {Options} [options]
   * @returns {AsyncGenerator<Chunk, void, void>}
   */
  stream(prompt, options = {}) {
    return this.#answer("stream", { prompt }, options);
  }

  /**
   * The next message of a chat, chunk by chunk. Leaving the loop cancels.
   *
   * @param {Message[]} messages
   * @param {ChatOptions} [options]
   * @returns {AsyncGenerator<Chunk, void, void>}
   */
  streamChat(messages, options = {}) {
    return this.#answer("stream_chat", { messages }, options);
  }

  /**
   * As `stream`, at once: the promise of the completion.
   *
   * @param {string | number[]} prompt
   * @param {Options} [options]
   * @returns {Promise<Completion>}
   */
  complete(prompt, options = {}) {
    return this.#whole("stream", { prompt }, options);
  }

  /**
   * Token ids of a text.
   *
   * @param {string} text
   * @param {{ add_special?: boolean, parse_special?: boolean, signal?: AbortSignal }} [options] add_special: with the
   *   tokens that begin and end a text, where the model has them; parse_special: "<|im_end|>" is that token, not letters
   * @returns {Promise<number[]>}
   */
  tokenize(text, { add_special = true, parse_special = false, signal } = {}) {
    const message = { call: "tokenize", model: this.#number, text, options: { add_special, parse_special } };
    return this.#desk.ask(message, { signal });
  }

  /**
   * The text of token ids.
   *
   * @param {Iterable<number>} tokens
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<string>}
   */
  detokenize(tokens, { signal } = {}) {
    return this.#desk.ask({ call: "detokenize", model: this.#number, tokens: Array.from(tokens) }, { signal });
  }

  /**
   * The bytes that each of these tokens stands for, often no whole characters.
   *
   * @param {Iterable<number>} tokens
   * @returns {Promise<number[][]>}
   */
  tokenBytes(tokens) {
    return this.#desk.ask({ call: "token_bytes", model: this.#number, tokens: Array.from(tokens) });
  }

  /**
   * How many GPU objects the model holds, by kind, and their bytes.
   *
   * @returns {Promise<Record<string, number>>}
   */
  liveObjects() {
    return this.#desk.ask({ call: "live_objects", model: this.#number });
  }

  /**
   * Free the model's memory. What it was loaded from stays in the cache.
   *
   * @returns {Promise<void>}
   */
  unload() {
    this.#desk.listeners.delete(this.#listener);
    return this.#desk.ask({ call: "unload", model: this.#number });
  }

  /**
   * @param {string} call
   * @param {object} input
   * @param {ChatOptions} options
   * @returns {Promise<Completion>}
   */
  #whole(call, input, { signal, onProgress, ...options }) {
    const onEvent = progressOnly(onProgress);
    return this.#desk.call({ call, model: this.#number, ...input, options, whole: true }, { onEvent, signal });
  }

  /**
   * @param {string} call
   * @param {object} input
   * @param {ChatOptions} options
   * @returns {AsyncGenerator<Chunk, void, void>}
   */
  async *#answer(call, input, { signal, onProgress, ...options }) {
    /** @type {Chunk[]} */
    const chunks = [];
    let wake = () => {};
    const onProgressOnly = progressOnly(onProgress);
    /** @param {any} told */
    const onEvent = ({ event, ...told }) => {
      if (event === "chunk") {
        chunks.push(told);
        wake();
      } else {
        onProgressOnly({ event, ...told });
      }
    };
    /** @type {Completion | null} */
    let completion = null;
    let over = false;
    const done = this.#desk.call({ call, model: this.#number, ...input, options }, { onEvent, signal });
    const ended = done.then((result) => (completion = result)).finally(() => (over = true)).finally(() => wake());
    ended.catch(() => {}); // thrown below
    try {
      while (!over) {
        while (chunks.length) {
          yield /** @type {Chunk} */ (chunks.shift());
        }
        await Promise.race([ended.catch(() => {}), new Promise((resolve) => (wake = () => resolve(undefined)))]);
      }
      yield* chunks;
      await ended; // throws what ended it
      yield { text: "", tokens: [], completion: /** @type {any} */ (completion) };
    } finally {
      if (!over) {
        done.cancel();
      }
    }
  }
}

/**
 * @param {((progress: PromptProgress) => void) | undefined} onProgress
 * @returns {(told: any) => void}
 */
function progressOnly(onProgress) {
  return ({ event, ...told }) => (event === "progress" ? onProgress?.(told) : undefined);
}
