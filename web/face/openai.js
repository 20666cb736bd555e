// `model.chat.completions.create`, in the shape of OpenAI's client, over `model.streamChat`.

import { ShaderLMError, cancelled, invalidOption } from "./errors.js";

/**
 * @typedef {import("./model.js").Message} Message
 * @typedef {import("./model.js").Completion} Completion
 * @typedef {((messages: Message[], options?: import("./model.js").ChatOptions) => Promise<Completion>) &
 *   { completions: ChatCompletions }} Chat
 *
 * @typedef {object} RequestMessage a message of OpenAI's; of its parts, texts alone are taken
 * @property {string} role
 * @property {string | object[] | null} [content]
 * @property {object[]} [tool_calls]
 * @property {string} [tool_call_id]
 * @property {string} [name]
 *
 * @typedef {object} RequestOptions
 * @property {RequestMessage[]} messages
 * @property {string} [model] is not looked at: the model is the one that was loaded
 * @property {{ include_usage?: boolean } | null} [stream_options] include_usage: a last chunk tells it
 * @property {number | null} [max_completion_tokens]
 * @property {number | null} [max_tokens] the older name of the same
 * @property {number | null} [temperature]
 * @property {number | null} [top_p]
 * @property {number | null} [seed]
 * @property {string | string[] | null} [stop]
 * @property {number | null} [frequency_penalty]
 * @property {number | null} [presence_penalty]
 * @property {Record<number, number> | null} [logit_bias]
 * @property {boolean | null} [logprobs]
 * @property {number | null} [top_logprobs] 0 to 20, with `logprobs`
 * @property {1 | null} [n] answers; there is always one
 * @property {{ type: "text" } | null} [response_format]
 * @property {string | null} [user] is not looked at
 * @property {object[] | null} [tools] goes to the chat template; a call comes as the model's text
 * @property {Record<string, unknown> | null} [chat_template_kwargs] this and what follows: not OpenAI's, but this library's
 * @property {number | null} [top_k]
 * @property {number | null} [min_p]
 * @property {number | null} [repeat_penalty]
 * @property {number | null} [repeat_last_n]
 * @property {boolean | null} [reuse_prefix]
 *
 * @typedef {RequestOptions & { stream?: false | null }} WholeRequest
 * @typedef {RequestOptions & { stream: true }} StreamRequest
 *
 * @typedef {object} TokenLogprob
 * @property {string} token
 * @property {number} logprob
 * @property {number[]} bytes
 *
 * @typedef {object} Logprobs
 * @property {(TokenLogprob & { top_logprobs: TokenLogprob[] })[]} content
 * @property {null} refusal
 *
 * @typedef {object} Usage
 * @property {number} prompt_tokens
 * @property {number} completion_tokens
 * @property {number} total_tokens
 * @property {{ cached_tokens: number }} prompt_tokens_details
 *
 * @typedef {"stop" | "length"} FinishReason
 *
 * @typedef {object} ChatCompletionMessage
 * @property {"assistant"} role
 * @property {string} content
 * @property {string} [reasoning_content] what the model wrote to itself before it answered
 * @property {null} refusal
 *
 * @typedef {object} ChatCompletion
 * @property {string} id
 * @property {"chat.completion"} object
 * @property {number} created seconds since 1970
 * @property {string} model
 * @property {{ index: 0, message: ChatCompletionMessage, logprobs: Logprobs | null, finish_reason: FinishReason }[]} choices
 * @property {Usage} usage
 *
 * @typedef {object} Delta
 * @property {"assistant"} [role]
 * @property {string} [content]
 * @property {string} [reasoning_content]
 *
 * @typedef {object} ChatCompletionChunk
 * @property {string} id
 * @property {"chat.completion.chunk"} object
 * @property {number} created
 * @property {string} model
 * @property {{ index: 0, delta: Delta, logprobs: Logprobs | null, finish_reason: FinishReason | null }[]} choices
 * @property {Usage | null} [usage] where `stream_options` ask for it: null in all but the last
 */

const MOST_LOGPROBS = 20;

// Options that go on under their own names.
const SAME = [
  "temperature", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty", "logit_bias", "tools",
  "chat_template_kwargs", "top_k", "min_p", "repeat_penalty", "repeat_last_n", "reuse_prefix",
]; // prettier-ignore
const READ_HERE = [
  "messages", "model", "stream", "stream_options", "max_completion_tokens", "max_tokens", "logprobs", "top_logprobs", "n",
  "response_format", "user",
]; // prettier-ignore

/**
 * `model.chat`: a function, and OpenAI's `completions` at it.
 *
 * @param {import("./model.js").Model} model
 * @param {(messages: Message[], options?: import("./model.js").ChatOptions) => Promise<Completion>} chat
 * @returns {Chat}
 */
export function chatOf(model, chat) {
  return Object.assign(chat, { completions: new ChatCompletions(model) });
}

/** As the `chat.completions` of OpenAI's client. */
export class ChatCompletions {
  #model;

  /** @param {import("./model.js").Model} model */
  constructor(model) {
    this.#model = model;
  }

  /**
   * The next message of a chat, whole or in chunks. An aborted `signal` rejects a whole answer, and ends a stream.
   *
   * @overload
   * @param {WholeRequest} request
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<ChatCompletion>}
   */
  /**
   * @overload
   * @param {StreamRequest} request
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<AsyncGenerator<ChatCompletionChunk, void, void>>}
   */
  /**
   * @param {WholeRequest | StreamRequest} request
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<ChatCompletion | AsyncGenerator<ChatCompletionChunk, void, void>>}
   */
  async create(request, { signal } = {}) {
    const options = { ...optionsOf(request), signal };
    const messages = /** @type {Message[]} */ (request.messages);
    const answer = new Answer(this.#model, this.#model.streamChat(messages, options));
    return request.stream ? answer.chunks(request.stream_options?.include_usage ?? false) : answer.whole();
  }
}

/**
 * The options of `streamChat` that a request means. Throws InvalidOption.
 *
 * @param {Record<string, any>} request
 * @returns {import("./model.js").ChatOptions}
 */
function optionsOf(request) {
  for (const name of Object.keys(request)) {
    if (!SAME.includes(name) && !READ_HERE.includes(name)) {
      throw invalidOption(`chat.completions.create knows no option ${name}. It takes ${[...READ_HERE, ...SAME].join(", ")}.`);
    }
  }
  const { n, response_format, logprobs, top_logprobs, max_completion_tokens, max_tokens } = request;
  if ((n ?? 1) !== 1) {
    throw invalidOption(`n: must be 1, not ${n}: one answer is made at a time.`);
  }
  if ((response_format?.type ?? "text") !== "text") {
    throw invalidOption(`response_format: must be { type: "text" }, not of type ${response_format.type}.`);
  }
  if (typeof (logprobs ?? false) !== "boolean") {
    throw invalidOption(`logprobs: must be true or false, not ${logprobs}; top_logprobs tells how many.`);
  }
  const top = top_logprobs ?? 0;
  if (!Number.isInteger(top) || top < 0 || top > MOST_LOGPROBS || (top > 0 && !logprobs)) {
    throw invalidOption(`top_logprobs: must be 0 to ${MOST_LOGPROBS}, and goes with logprobs: true; it is ${top_logprobs}.`);
  }
  const given = SAME.filter((name) => request[name] != null).map((name) => [name, request[name]]);
  return {
    ...Object.fromEntries(given),
    max_tokens: max_completion_tokens ?? max_tokens ?? null,
    logprobs: logprobs ? top : null,
  };
}

/** One answer on its way from our shape to OpenAI's. */
class Answer {
  #model;
  #stream;
  /** @type {{ finish_reason: FinishReason, usage: Usage } | null} null where it was cancelled */
  #end = null;

  /**
   * @param {import("./model.js").Model} model
   * @param {AsyncGenerator<import("./model.js").Chunk, void, void>} stream
   */
  constructor(model, stream) {
    this.#model = model;
    this.#stream = stream;
    this.head = { id: `chatcmpl-${crypto.randomUUID()}`, created: Math.floor(Date.now() / 1000), model: model.name };
  }

  /** @returns {Promise<ChatCompletion>} */
  async whole() {
    const message = { role: /** @type {const} */ ("assistant"), content: "", refusal: null };
    let reasoning = "";
    /** @type {Logprobs | null} */
    let logprobs = null;
    for await (const piece of this.#pieces()) {
      message.content += piece.delta.content ?? "";
      reasoning += piece.delta.reasoning_content ?? "";
      logprobs = joined(logprobs, piece.logprobs);
    }
    if (!this.#end) {
      throw cancelled();
    }
    const { finish_reason, usage } = this.#end;
    const said = reasoning ? { ...message, reasoning_content: reasoning } : message;
    const choices = [{ index: /** @type {const} */ (0), message: said, logprobs, finish_reason }];
    return { ...this.head, object: "chat.completion", choices, usage };
  }

  /**
   * @param {boolean} include_usage
   * @returns {AsyncGenerator<ChatCompletionChunk, void, void>}
   */
  async *chunks(include_usage) {
    /** @type {(delta: Delta, logprobs?: Logprobs | null, finish_reason?: FinishReason | null) => ChatCompletionChunk} */
    const chunk = (delta, logprobs = null, finish_reason = null) => ({
      ...this.head,
      object: "chat.completion.chunk",
      choices: [{ index: 0, delta, logprobs, finish_reason }],
      ...(include_usage ? { usage: null } : {}),
    });
    yield chunk({ role: "assistant", content: "" });
    for await (const { delta, logprobs } of this.#pieces()) {
      yield chunk(delta, logprobs);
    }
    if (this.#end) {
      const { finish_reason, usage } = this.#end;
      yield chunk({}, null, finish_reason);
      if (include_usage) {
        yield { ...this.head, object: "chat.completion.chunk", choices: [], usage };
      }
    }
  }

  /** @returns {AsyncGenerator<{ delta: Delta, logprobs: Logprobs | null }, void, void>} */
  async *#pieces() {
    try {
      for await (const { text, reasoning, logprobs, completion } of this.#stream) {
        if (completion) {
          this.#finish(completion);
        } else if (reasoning) {
          yield { delta: { reasoning_content: reasoning, ...(text ? { content: text } : {}) }, logprobs: null };
        } else {
          yield { delta: { content: text }, logprobs: logprobs ? await this.#named(logprobs) : null };
        }
      }
    } catch (error) {
      if (!(error instanceof ShaderLMError && error.code === "ContextFull" && error.partial)) {
        throw error;
      }
      this.#finish(error.partial); // which is what OpenAI calls "length"
    }
  }

  /** @param {Completion} completion */
  #finish({ finish_reason, usage: { prompt_tokens, completion_tokens, reused_tokens } }) {
    if (finish_reason !== "cancelled") {
      const total_tokens = prompt_tokens + completion_tokens;
      const prompt_tokens_details = { cached_tokens: reused_tokens };
      this.#end = { finish_reason, usage: { prompt_tokens, completion_tokens, total_tokens, prompt_tokens_details } };
    }
  }

  /**
   * Tokens by their text.
   *
   * @param {import("./model.js").TokenLogprobs[]} entries
   * @returns {Promise<Logprobs>}
   */
  async #named(entries) {
    const ids = [...new Set(entries.flatMap(({ token, top }) => [token, ...top.map(([other]) => other)]))];
    const bytes = await this.#model.tokenBytes(ids);
    const known = new Map(ids.map((id, at) => [id, bytes[at]]));
    /** @type {(token: number, logprob: number) => TokenLogprob} */
    const told = (id, logprob) => {
      const own = known.get(id) ?? [];
      return { token: new TextDecoder().decode(Uint8Array.from(own)), logprob, bytes: own };
    };
    const content = entries.map(({ token, logprob, top }) => ({
      ...told(token, logprob),
      top_logprobs: top.map(([other, ofOther]) => told(other, ofOther)),
    }));
    return { content, refusal: null };
  }
}

/**
 * @param {Logprobs | null} first
 * @param {Logprobs | null} second
 * @returns {Logprobs | null}
 */
function joined(first, second) {
  return first && second ? { content: [...first.content, ...second.content], refusal: null } : (first ?? second);
}
