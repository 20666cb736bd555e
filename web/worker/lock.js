// One tab at a time downloads a model. Without Web Locks two tabs download the same chunks, which harms nobody.

import { cancelled } from "./failure.js";

/**
 * Wait for the right to download something.
 *
 * @param {string} what
 * @param {AbortSignal} signal
 * @returns {Promise<() => void>} gives it back
 */
export async function hold(what, signal) {
  if (!globalThis.navigator?.locks) {
    return () => {};
  }
  return new Promise((resolve, reject) => {
    const held = () => new Promise((release) => resolve(() => release(undefined)));
    navigator.locks.request(`shaderlm ${what}`, { signal }, held).catch(() => {
      if (signal.aborted) {
        reject(cancelled("Waiting for another tab"));
      } else {
        resolve(() => {}); // refused, as where storage is
      }
    });
  });
}
