// The system prompt and how tokens are drawn. Kept between visits; an empty field leaves the default.

import { element, find } from "./dom.js";
import { forget, keep, recall } from "./kept.js";
import { texts } from "./texts.js";

/**
 * Narrower than what the engine takes: what makes sense in a chat.
 *
 * @type {Record<string, [least: number, most: number, step: number, shown: string]>} shown: the default in words
 */
const OPTIONS = {
  temperature: [0, 2, 0.05, "0.8"],
  top_p: [0.05, 1, 0.05, "0.95"],
  top_k: [0, 1000, 1, "40"],
  min_p: [0, 0.5, 0.01, "0.05"],
  repeat_penalty: [1, 2, 0.05, "1"],
  max_tokens: [1, 100000, 1, texts.unlimited],
  seed: [0, 4294967295, 1, texts.random],
};

export class Settings {
  /** @type {Map<string, HTMLInputElement>} */
  #fields = new Map();
  #system = find("system");

  constructor() {
    const kept = recall("settings", {});
    for (const name of Object.keys(OPTIONS)) {
      const field = makeField(name, kept[name]);
      this.#fields.set(name, /** @type {HTMLInputElement} */ (field.querySelector("input")));
      find("options").append(field);
    }
    this.#system.value = kept.system ?? "";
    find("settings-form").addEventListener("change", () => this.#changed());
    find("reset").addEventListener("click", () => this.#reset());
    find("open-settings").addEventListener("click", () => find("settings").showModal());
    find("settings").addEventListener("click", ({ target }) => target === find("settings") && find("settings").close());
  }

  get system() {
    return this.#system.value.trim();
  }

  /** Only what the reader has set, each within its bounds. */
  get options() {
    const set = [...this.#fields].filter(([, field]) => field.value !== "" && field.validity.valid);
    return Object.fromEntries(set.map(([name, field]) => [name, field.valueAsNumber]));
  }

  #changed() {
    this.#fields.forEach((field, name) => bound(field, name));
    keep("settings", { system: this.#system.value, ...this.options });
  }

  #reset() {
    this.#fields.forEach((field) => (field.value = ""));
    this.#system.value = "";
    forget("settings");
  }
}

/** @param {string} name @param {number} [value] */
function makeField(name, value) {
  const [low, high, step, usual] = OPTIONS[name];
  const [title, note] = texts.options[name];
  const mode = step < 1 ? "decimal" : "numeric";
  const input = element("input", { type: "number", id: `option-${name}`, min: low, max: high, step, inputMode: mode });
  input.placeholder = usual;
  input.value = String(value ?? "");
  input.title = texts.outside(low, high);
  input.setAttribute("aria-describedby", `note-${name}`);
  return element(
    "label",
    {},
    element("span", { className: "label", textContent: title }),
    input,
    element("span", { className: "note", id: `note-${name}`, textContent: note }),
  );
}

/** What lies outside goes to the nearest bound; what lies between two steps, to the nearest one. @param {HTMLInputElement} field @param {string} name */
function bound(field, name) {
  if (field.value === "" && !field.validity.badInput) {
    return;
  }
  const [low, high, step] = OPTIONS[name];
  const number = Math.min(high, Math.max(low, field.valueAsNumber));
  const stepped = low + Math.round((number - low) / step) * step;
  field.value = Number.isFinite(number) ? String(Number(stepped.toFixed(2))) : "";
}
