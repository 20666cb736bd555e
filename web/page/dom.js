// The page's elements. Text is always text: nothing here takes HTML.

/** The element with an id. */
export function find(id) {
  return document.getElementById(id);
}

/** A new element; a property `on` maps events to listeners, names with "-" and "role" are attributes. */
export function element(tag, { on = {}, ...properties } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") {
      made.setAttribute(name, value);
    } else {
      made[name] = value;
    }
  }
  for (const [event, listener] of Object.entries(on)) {
    made.addEventListener(event, listener);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

export function button(text, listener, properties = {}) {
  return element("button", { type: "button", textContent: text, on: { click: listener }, ...properties });
}

export function show(target, shown = true) {
  target.hidden = !shown;
}
