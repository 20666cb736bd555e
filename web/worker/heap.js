// What the JavaScript heap may hold of models at a time, over all files that are open. A garbage collector lets
// hundreds of megabytes of buffers lie, so each buffer has one owner, who frees it.

const ROOM = 4; // chunks between network and storage, the one that fills included
const RECENT = 3; // chunks that were read or stored last, for the next reads

/** @typedef {Uint8Array<ArrayBuffer>} Bytes */

/**
 * Give memory back at once. The array is empty from then on.
 *
 * @param {Bytes} bytes
 */
export function free(bytes) {
  if (bytes.buffer.byteLength > 0) {
    bytes.buffer.transfer?.(0); // without it the collector does it in its own time
  }
}

/** Permits for chunks that are on their way, given in the order of asking. */
class Room {
  #free = ROOM;
  #waiting = [];

  async take() {
    if (this.#free > 0) {
      this.#free -= 1;
    } else {
      await new Promise((resolve) => this.#waiting.push(resolve));
    }
  }

  giveBack() {
    const next = this.#waiting.shift();
    if (next) {
      next();
    } else {
      this.#free += 1;
    }
  }
}

/** The chunks that were used last. It owns them: one that it frees to make room is empty. */
class Recent {
  #chunks = new Map(); // the least recently used first

  /** @param {string} id @param {number} index @returns {Bytes | undefined} */
  get(id, index) {
    const key = `${id} ${index}`;
    const bytes = this.#chunks.get(key);
    if (bytes) {
      this.#chunks.delete(key);
      this.#chunks.set(key, bytes);
    }
    return bytes;
  }

  /** @param {string} id @param {number} index @param {Bytes} bytes */
  put(id, index, bytes) {
    this.#free(`${id} ${index}`);
    this.#chunks.set(`${id} ${index}`, bytes);
    if (this.#chunks.size > RECENT) {
      this.#free(this.#chunks.keys().next().value);
    }
  }

  /** @param {string} id */
  drop(id) {
    for (const key of [...this.#chunks.keys()].filter((key) => key.startsWith(`${id} `))) {
      this.#free(key);
    }
  }

  #free(key) {
    const bytes = this.#chunks.get(key);
    if (bytes) {
      this.#chunks.delete(key);
      free(bytes);
    }
  }
}

export const room = new Room();
export const recent = new Recent();
