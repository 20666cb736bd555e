// What the face throws.

/**
 * What went wrong. `code` never changes: it is the name of an error class of the Python package, such as "OutOfMemory";
 * "Cancelled", where a signal was aborted; or "InternalError", a defect of shaderlm.
 */
export class ShaderLMError extends Error {
  /** @param {{ code: string, message: string, partial?: import("./model.js").Completion }} told */
  constructor({ code, message, partial }) {
    super(message);
    /** "AbortError" for what was cancelled, as browsers call it. */
    this.name = code === "Cancelled" ? "AbortError" : "ShaderLMError";
    this.code = code;
    /** The answer so far, where the context was full. */
    this.partial = partial ?? undefined;
  }
}

/**
 * @param {string} message
 * @returns {ShaderLMError}
 */
export function invalidOption(message) {
  return new ShaderLMError({ code: "InvalidOption", message });
}

/** @returns {ShaderLMError} */
export function cancelled() {
  return new ShaderLMError({ code: "Cancelled", message: "The call was cancelled by its signal." });
}
