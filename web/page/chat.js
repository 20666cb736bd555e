// A conversation: what was said, the answer under way, and the list on the screen.

import { find, show } from "./dom.js";
import { AnswerMessage, userMessage } from "./message.js";
import { Speaker } from "./speaker.js";
import { texts } from "./texts.js";

const LOST = ["DeviceLost", "OutOfMemory", "ModelClosed", "KernelError", "InternalError"]; // loading anew may help
const NEAR = 60; // px from the end within which the reader counts as being there

export class Chat {
  /** @type {import("../shaderlm.js").Message[]} */
  #messages = [];
  /** @type {AnswerMessage[]} one for each answer */
  #answers = [];
  /** @type {AbortController | null} of the answer under way */
  #controller = null;
  #speaker = new Speaker();
  #list = find("messages");
  #scroller = find("main");
  #follows = true; // whether the reader is at the end
  #given;

  /**
   * @param {object} given
   * @param {() => import("../shaderlm.js").Model} given.model the one that is loaded
   * @param {() => import("../shaderlm.js").ChatOptions} given.options
   * @param {() => string} given.system
   * @param {() => void} given.reload loads the model anew
   * @param {(isBusy: boolean) => void} given.onBusy
   */
  constructor(given) {
    this.#given = given;
    this.#scroller.addEventListener("scroll", () => (this.#follows = this.#isAtEnd()), { passive: true });
  }

  get isBusy() {
    return this.#controller !== null;
  }

  /** The reader says something. @param {string} content */
  send(content) {
    this.#answers.at(-1)?.settle();
    this.#messages.push({ role: "user", content });
    this.#list.append(userMessage(content));
    return this.#answer();
  }

  /** Another answer to the last message. */
  regenerate() {
    if (this.isBusy) {
      return undefined;
    }
    this.#answers.pop()?.element.remove();
    if (this.#messages.at(-1)?.role === "assistant") {
      this.#messages.pop();
    }
    return this.#answer();
  }

  stop() {
    this.#controller?.abort();
  }

  /** Forget all that was said. */
  clear() {
    this.stop();
    this.#controller = null; // what still comes belongs to nobody
    this.#speaker = new Speaker();
    this.#messages = [];
    this.#answers = [];
    this.#list.replaceChildren();
    show(find("empty"));
    working("");
    this.#given.onBusy(false);
  }

  async #answer() {
    const controller = (this.#controller = new AbortController());
    const shown = new AnswerMessage(() => this.#follow());
    this.#answers.push(shown);
    this.#list.append(shown.element);
    show(find("empty"), false);
    this.#given.onBusy(true);
    working(texts.thinking);
    this.#scrollToEnd();
    let completion = null;
    try {
      completion = await this.#stream(shown, controller);
      shown.finish(completion, { regenerate: () => this.regenerate() });
    } catch (error) {
      shown.fail(error, this.#waysOut(error));
    }
    if (this.#controller === controller) {
      this.#ended(shown);
    }
  }

  /** @param {AnswerMessage} shown @param {AbortController} controller */
  async #stream(shown, controller) {
    const system = this.#given.system();
    const messages = system ? [{ role: "system", content: system }, ...this.#messages] : [...this.#messages];
    const onProgress = (progress) => this.#controller === controller && working(workingOn(progress));
    const options = { ...this.#given.options(), signal: controller.signal, onProgress };
    for await (const chunk of this.#given.model().streamChat(messages, options)) {
      if (chunk.completion) {
        return chunk.completion;
      }
      if (this.#controller === controller) {
        shown.push(chunk);
        working(shown.text ? "" : texts.thinking);
        this.#speaker.push(chunk.text);
      }
    }
    return null;
  }

  /** @param {AnswerMessage} shown */
  #ended(shown) {
    this.#controller = null;
    this.#messages.push({ role: "assistant", content: shown.text }); // an empty one, too: templates want turns
    this.#speaker.end();
    working("");
    this.#follow();
    this.#given.onBusy(false);
  }

  /** @param {any} error @returns {import("./problem.js").Action[]} */
  #waysOut(error) {
    /** @type {import("./problem.js").Action} */
    const again = [texts.again, () => this.regenerate()];
    return LOST.includes(error.code) ? [again, [texts.reload, () => this.#given.reload()]] : [again];
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #follow() {
    if (this.#follows) {
      this.#scrollToEnd();
    }
  }

  #scrollToEnd() {
    this.#follows = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
  }
}

function workingOn({ stage, done, total }) {
  return stage === "prefill" && done < total ? texts.reading(done, total) : texts.thinking;
}

/** @param {string} text */
function working(text) {
  const line = find("working");
  if (line.textContent !== text) {
    line.textContent = text;
    show(line, Boolean(text));
  }
}
