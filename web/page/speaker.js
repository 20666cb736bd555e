// What screen readers hear: answers by whole sentences, as they come, instead of every piece of a word.

import { element, find } from "./dom.js";

const SENTENCE = /^.*?(?:[.!?…]["'”’)\]]*\s|[。！？]|\n)/s;
const KEPT = 20; // sentences in the log

export class Speaker {
  #log = find("spoken");
  #rest = "";

  /** A piece of an answer. @param {string} text */
  push(text) {
    this.#rest += text;
    for (let found; (found = SENTENCE.exec(this.#rest)); this.#rest = this.#rest.slice(found[0].length)) {
      this.say(found[0]);
    }
  }

  /** The answer is over. */
  end() {
    this.say(this.#rest);
    this.#rest = "";
  }

  /** @param {string} text */
  say(text) {
    if (text.trim()) {
      this.#log.append(element("p", { textContent: text.trim() }));
    }
    while (this.#log.childElementCount > KEPT) {
      this.#log.firstElementChild?.remove();
    }
  }
}
