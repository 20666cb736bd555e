// Fetches what is missing of a file, checks it, hands it on and stores it.

import { removeModel } from "./database.js";
import { chunksOf } from "./download.js";
import { failure } from "./failure.js";
import { recent, room } from "./heap.js";
import { gapsIn, sha256Of, storedBytes } from "./manifest.js";
import { refuseOtherThanGguf } from "./remote.js";

/** @typedef {import("./heap.js").Bytes} Bytes */

export class Fetching {
  #chunks;
  #remote;
  #expected;
  #onArrival;
  #onWrong;

  /**
   * @param {object} parts
   * @param {import("./chunk_store.js").ChunkStore} parts.chunks
   * @param {import("./remote.js").Remote} parts.remote
   * @param {import("./manifest.js").Expected} [parts.expected]
   * @param {() => void} parts.onArrival
   * @param {(error: Error) => void} parts.onWrong hears of bytes that are refused; what still comes is of no use
   */
  constructor({ chunks, remote, expected, onArrival, onWrong }) {
    this.#chunks = chunks;
    this.#remote = remote;
    this.#expected = expected;
    this.#onArrival = onArrival;
    this.#onWrong = onWrong;
    /** @type {Map<number, Bytes>} by index, what has arrived and is being stored */
    this.arrived = new Map();
    this.received = false; // whether all bytes have come
  }

  /**
   * @param {Pick<import("./download.js").Run, "chunkSize" | "pauses" | "signal" | "onBytes">} how the part of a Run that all gaps have in common
   * @param {import("./remote.js").Answer} first to the request for the first bytes that are missing
   * @returns {Promise<void>} resolves when everything is stored; what has come is stored before it rejects
   */
  async run(how, first) {
    let kept = Promise.resolve();
    try {
      const gaps = gapsIn(this.#chunks.manifest);
      /** @type {import("./remote.js").Answer | undefined} */
      let answer = first;
      if (gaps.length === 0) {
        first.drop(); // another tab was faster
      }
      for (const [start, end] of gaps) {
        for await (const { index, bytes } of chunksOf(this.#remote, { ...how, start, end, answer })) {
          kept = kept.then(() => this.#keep(index, bytes)).finally(() => room.giveBack());
          kept.catch(this.#onWrong);
        }
        answer = undefined;
      }
      this.received = true;
    } catch (error) {
      await kept;
      const message = `${error.message} What has come is stored: load it again to go on from there.`;
      throw this.#isWorthGoingOn(error) ? failure(error.code, message) : error;
    }
    await kept;
    await this.#setSize();
  }

  #isWorthGoingOn({ code }) {
    return code === "NetworkError" && this.#chunks.storing && storedBytes(this.#chunks.manifest) > 0;
  }

  async #keep(index, bytes) {
    const hash = await sha256Of(bytes);
    await this.#check(index, bytes, hash);
    this.arrived.set(index, bytes);
    this.#onArrival();
    await this.#chunks.put(index, bytes, hash);
    this.arrived.delete(index);
    recent.put(this.#chunks.manifest.id, index, bytes);
  }

  async #check(index, bytes, hash) {
    const { url, id, name } = this.#chunks.manifest;
    try {
      if (index === 0) {
        refuseOtherThanGguf(url, name, bytes);
      }
      if (this.#expected && this.#expected.chunk_sha256[index] !== hash) {
        throw failure(
          "ChecksumMismatch",
          `${url}: chunk ${index} (bytes ${index * this.#chunks.manifest.chunk_size} on) has the SHA-256 ${hash}, ` +
            `but ${this.#expected.chunk_sha256[index]} was published. The file on the server is damaged, or another one: ` +
            "nothing of it is kept. Tell whoever runs this site.",
        );
      }
    } catch (error) {
      if (this.#chunks.storing) {
        await removeModel(url, id).catch(() => {});
      }
      throw error;
    }
  }

  /** A server that did not say how long the file is has shown it. */
  async #setSize() {
    const { name, size, sha256, chunk_size } = this.#chunks.manifest;
    if (size === null) {
      const last = await this.#chunks.get(sha256.length - 1);
      if (!last) {
        const what = `The last chunk of ${name}, just stored, cannot be read from this browser's storage.`;
        throw failure("ChecksumMismatch", `${what} Delete this model and download it anew.`);
      }
      await this.#chunks.setSize((sha256.length - 1) * chunk_size + last.length);
    }
  }
}
