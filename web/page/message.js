// Messages of the chat on the screen. An answer grows once per frame, by text alone.

import { button, element, show } from "./dom.js";
import { problem } from "./problem.js";
import { texts } from "./texts.js";

/** A message of the reader's. @param {string} text */
export function userMessage(text) {
  const label = element("span", { className: "unseen", textContent: texts.you });
  return element("li", { className: "message user" }, label, element("div", { className: "text", textContent: text }));
}

// Text that grows: what is pushed within one frame is appended at once, before the frame is drawn.
class Growing {
  #node = document.createTextNode("");
  #pending = "";

  /** @param {string} className */
  constructor(className) {
    this.element = element("div", { className }, this.#node);
  }

  /** @param {string} text */
  push(text) {
    this.#pending += text;
  }

  flush() {
    if (this.#pending) {
      this.#node.appendData(this.#pending);
      this.#pending = "";
    }
  }

  get text() {
    return this.#node.data + this.#pending;
  }
}

/** An answer of the model's, as it comes. */
export class AnswerMessage {
  #answer = new Growing("text");
  #reasoning = new Growing("text");
  #frame = 0;
  #onGrown;

  /** @param {() => void} onGrown is called after the message has grown on the screen */
  constructor(onGrown) {
    this.#onGrown = onGrown;
    const summary = element("summary", { textContent: texts.reasoning });
    this.thoughts = element("details", { className: "reasoning", hidden: true }, summary, this.#reasoning.element);
    this.foot = element("div", { className: "foot", hidden: true });
    const label = element("span", { className: "unseen", textContent: texts.model });
    const parts = [label, this.thoughts, this.#answer.element, this.foot];
    this.element = element("li", { className: "message answer" }, ...parts);
  }

  get text() {
    return this.#answer.text;
  }

  get reasoning() {
    return this.#reasoning.text;
  }

  /** @param {Partial<import("../shaderlm.js").Chunk>} chunk */
  push({ text = "", reasoning = "" }) {
    this.#answer.push(text);
    this.#reasoning.push(reasoning);
    this.#frame ||= requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    show(this.thoughts, Boolean(this.reasoning));
    this.#reasoning.flush();
    this.#answer.flush();
    this.#onGrown();
  }

  /**
   * The answer is whole: what it took, and what can be done with it.
   *
   * @param {import("../shaderlm.js").Completion | null} completion
   * @param {{ regenerate: () => void }} ways
   */
  finish(completion, { regenerate }) {
    this.#draw();
    const stats = element("span", { className: "stats", textContent: completion ? texts.stats(completion) : "" });
    const copied = (event) => {
      navigator.clipboard.writeText(this.text).then(() => (event.target.textContent = texts.copied));
    };
    const copy = this.text && navigator.clipboard && button(texts.copy, copied, { className: "quiet" });
    this.again = button(texts.regenerate, regenerate, { className: "quiet again" });
    this.foot.replaceChildren(stats, element("span", { className: "actions" }, copy, this.again));
    show(this.foot);
  }

  /** What went wrong. @param {any} error @param {import("./problem.js").Action[]} actions */
  fail(error, actions) {
    this.#draw();
    this.element.append(problem(error, actions));
  }

  /** It is not the last one any more. */
  settle() {
    this.again?.remove();
    this.element.querySelector(".problem-box")?.remove();
  }
}
