// The page's elements. Text is always text: nothing here takes HTML.

/**
 * @typedef {object} Elements those of index.html that are more than HTMLElements, by id
 * @property {HTMLTextAreaElement} prompt
 * @property {HTMLTextAreaElement} system
 * @property {HTMLInputElement} url
 * @property {HTMLInputElement} file
 * @property {HTMLInputElement} keep-file
 * @property {HTMLProgressElement} download-bar
 * @property {HTMLProgressElement} compile-bar
 * @property {HTMLDialogElement} settings
 * @property {HTMLImageElement} logo
 */

/**
 * The element with an id that index.html has.
 *
 * @template {string} Id
 * @param {Id} id
 * @returns {Id extends keyof Elements ? Elements[Id] : HTMLElement}
 */
export function find(id) {
  return /** @type {any} */ (document.getElementById(id));
}

/**
 * A new element; a property `on` maps events to listeners, names with "-" and "role" are attributes.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {{ on?: Record<string, (event: any) => void> } & Record<string, any>} [properties]
 * @param {...(Node | string | false | null | undefined)} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, { on = {}, ...properties } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") {
      made.setAttribute(name, value);
    } else {
      Object.assign(made, { [name]: value });
    }
  }
  for (const [event, listener] of Object.entries(on)) {
    made.addEventListener(event, listener);
  }
  made.append(...children.filter((child) => typeof child === "string" || child instanceof Node));
  return made;
}

/**
 * @param {string} text
 * @param {(event: MouseEvent) => void} listener
 * @param {Record<string, any>} [properties]
 */
export function button(text, listener, properties = {}) {
  return element("button", { type: "button", textContent: text, on: { click: listener }, ...properties });
}

/** @param {HTMLElement} target */
export function show(target, shown = true) {
  target.hidden = !shown;
}
