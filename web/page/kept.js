// Small things that the page keeps between visits. Where storage is refused, nothing is kept, and nothing fails.

const PREFIX = "shaderlm.";

/**
 * What was kept under a name, or `fallback`.
 *
 * @param {string} name
 * @param {any} [fallback]
 * @returns {any}
 */
export function recall(name, fallback = null) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "null") ?? fallback;
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {unknown} value that JSON can hold */
export function keep(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // refused, or full
  }
}

/** @param {string} name */
export function forget(name) {
  try {
    localStorage.removeItem(PREFIX + name);
  } catch {
    // refused
  }
}
