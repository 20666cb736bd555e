// Errors that a user can cause. `code` is the name of the class that they are in Python, and never changes.

/**
 * @param {string} code
 * @param {string} message what was wrong, where, by which numbers, and what to do
 * @param {object} [more] further properties of the error
 * @returns {Error & { code: string }}
 */
export function failure(code, message, more = {}) {
  return Object.assign(new Error(message), { code, ...more });
}

/** @param {string} what */
export function cancelled(what) {
  return failure("Cancelled", `${what} was cancelled.`, { name: "AbortError" });
}

/** @param {number} bytes */
export function inMegabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
