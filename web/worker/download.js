// A run of a file's bytes in whole chunks, in order, through dropped connections.

import { cancelled, failure } from "./failure.js";
import { room } from "./heap.js";

/** @typedef {import("./heap.js").Bytes} Bytes */

export const PAUSES = [250, 1000, 3000]; // ms before another try, when so many have brought nothing

/**
 * @typedef {object} Run
 * @property {number} start a multiple of the chunk size
 * @property {number | null} end null: where the body ends
 * @property {number} chunkSize
 * @property {import("./remote.js").Answer} [answer] to the first request, where it was made already
 * @property {number[]} pauses
 * @property {AbortSignal} signal
 * @property {(bytes: number) => void} [onBytes] hears of bytes as they come
 */

/** @typedef {{ index: number, bytes: Bytes }} Chunk */

/**
 * Each chunk holds a permit of `room`, which whoever takes the chunk gives back.
 *
 * @param {import("./remote.js").Remote} remote
 * @param {Run} run
 * @returns {AsyncGenerator<Chunk>}
 */
export async function* chunksOf(remote, { start, end, chunkSize, answer, pauses, signal, onBytes = () => {} }) {
  const assembly = new Assembly(start, end, chunkSize);
  let fruitless = 0; // answers in a row that brought nothing
  try {
    while (!assembly.complete) {
      const from = assembly.position;
      answer ??= await patiently(() => remote.ask(from, assembly.end), { pauses, signal });
      refuseChanged(remote, answer);
      const broken = yield* assembly.takeFrom(answer, remote, onBytes);
      answer = undefined;
      if (!broken) {
        continue;
      }
      fruitless = assembly.position > from ? 0 : fruitless + 1;
      if (fruitless > pauses.length) {
        throw endedEarly(remote, assembly, broken);
      }
      await sleep(pauses[Math.max(fruitless - 1, 0)], signal);
    }
    yield* assembly.rest();
  } finally {
    assembly.drop();
  }
}

/**
 * What `attempt` gives, which is made again after pauses as long as it fails in a way that may pass.
 *
 * @template T
 * @param {() => Promise<T>} attempt
 * @param {{ pauses: number[], signal: AbortSignal }} options
 * @returns {Promise<T>}
 */
export async function patiently(attempt, { pauses, signal }) {
  for (const pause of pauses) {
    try {
      return await attempt();
    } catch (error) {
      if (!error.again) {
        throw error;
      }
    }
    await sleep(pause, signal);
  }
  return attempt();
}

/** Pieces of any size put together into chunks. */
class Assembly {
  #filling; // the chunk that position lies in

  constructor(position, end, chunkSize) {
    this.position = position;
    this.end = end;
    this.chunkSize = chunkSize;
  }

  get complete() {
    return this.position === this.end;
  }

  /**
   * The chunks that an answer completes.
   *
   * @returns {AsyncGenerator<Chunk, Error | undefined>} at the end why it came too early, if it did
   */
  async *takeFrom(answer, remote, onBytes) {
    try {
      for await (const piece of clipped(answer, this.position, this.end, remote)) {
        onBytes(piece.length);
        yield* this.#add(piece);
      }
    } catch (error) {
      if (!error.again) {
        throw error;
      }
      return error;
    }
    this.end ??= this.position;
    return this.complete ? undefined : failure("TruncatedFile", "The answer ended before its time.");
  }

  async *#add(piece) {
    for (let used = 0; used < piece.length; ) {
      this.#filling ??= await this.#make();
      const at = this.position % this.chunkSize;
      const part = piece.subarray(used, used + this.#filling.length - at);
      this.#filling.set(part, at);
      used += part.length;
      this.position += part.length;
      if (at + part.length === this.#filling.length) {
        yield this.#hand(this.#filling);
      }
    }
  }

  /** The last chunk of a file whose size was not known. */
  *rest() {
    if (this.#filling) {
      yield this.#hand(this.#filling.slice(0, this.position % this.chunkSize));
    }
  }

  drop() {
    if (this.#filling) {
      this.#filling = undefined;
      room.giveBack();
    }
  }

  async #make() {
    await room.take();
    return new Uint8Array(Math.min(this.chunkSize, (this.end ?? Infinity) - this.position));
  }

  #hand(bytes) {
    this.#filling = undefined;
    return { index: Math.ceil(this.position / this.chunkSize) - 1, bytes };
  }
}

/** The part of an answer's body that lies in [position, end). */
async function* clipped(answer, position, end, remote) {
  let at = answer.start;
  for await (const piece of answer.body()) {
    const part = piece.subarray(Math.max(position - at, 0), end === null ? undefined : Math.max(end - at, 0));
    at += piece.length;
    if (part.length > 0) {
      yield part;
    }
    if (end !== null && at > end) {
      refuseSurplus(remote, end);
      return; // what follows is stored already
    }
    if (at === end && end !== remote.known?.size) {
      return;
    }
  }
}

function refuseSurplus(remote, end) {
  if (end === remote.known?.size) {
    throw failure(
      "InvalidFile",
      `${remote.url} has more than the ${end} bytes that its server announces, perhaps because it compresses on the ` +
        "way. Let it serve model files as they are.",
    );
  }
}

function refuseChanged(remote, answer) {
  if (answer.changed) {
    answer.drop();
    throw failure("NetworkError", `${remote.url} was replaced while it was downloaded. Load it again, from the start.`);
  }
}

function endedEarly(remote, { position, end }, broken) {
  const where = `${remote.url} ends at byte ${position}${end === null ? "" : `, though it should have ${end}`}`;
  if (broken.code === "TruncatedFile") {
    return failure("TruncatedFile", `${where}, every time: the file on the server is damaged. Get it from elsewhere.`);
  }
  return failure(
    "TruncatedFile",
    `${where}: the connection breaks off there every time. Load again to go on from there; if that does not help, ` +
      "the file on the server is damaged: get it from elsewhere.",
  );
}

function sleep(time, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(cancelled("The download"));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve(undefined);
    }, time);
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) {
      stop();
    }
  });
}
