// Reads chunks back from where they are kept, checks a sample of them, and fetches again what is damaged.

import { chunksOf } from "./download.js";
import { failure } from "./failure.js";
import { recent, room } from "./heap.js";
import { LOCAL, sha256Of } from "./manifest.js";

/** @typedef {import("./heap.js").Bytes} Bytes */

const SAMPLE = 4; // chunks that are checked as they are read, chosen anew each time

export class Stored {
  #chunks;
  #remote;
  #how;
  #unchecked; // indices of chunks to be hashed when they are read
  /** @type {Map<number, Promise<Bytes>>} by index, what is being read */
  #readings = new Map();

  /**
   * @param {import("./chunk_store.js").ChunkStore} chunks
   * @param {import("./remote.js").Remote | null} remote null: the file can't be fetched again
   * @param {Pick<import("./download.js").Run, "pauses" | "signal">} how
   */
  constructor(chunks, remote, how) {
    this.#chunks = chunks;
    this.#remote = remote;
    this.#how = how;
    this.#unchecked = new Set(sampleOf(this.indices(), SAMPLE));
  }

  /**
   * @param {number} index of a chunk that is kept
   * @returns {Promise<Bytes>} to be copied at once: `recent` owns it
   */
  async chunk(index) {
    const { id } = this.#chunks.manifest;
    if (!this.#readings.has(index)) {
      const held = this.#unchecked.has(index) ? undefined : recent.get(id, index);
      if (held) {
        return held;
      }
      const reading = this.#read(index).finally(() => this.#readings.delete(index));
      this.#readings.set(index, reading);
    }
    return /** @type {Promise<Bytes>} */ (this.#readings.get(index));
  }

  /** Check everything when it is next read. */
  doubt() {
    this.#unchecked = new Set(this.indices());
  }

  /** Of what is kept. @returns {number[]} */
  indices() {
    return this.#chunks.manifest.sha256.flatMap((hash, index) => (hash === null ? [] : [index]));
  }

  /** @param {number} index */
  async #read(index) {
    const { id } = this.#chunks.manifest;
    const bytes = (await this.#intact(index, await this.#chunks.get(index))) ?? (await this.#fetchAgain(index));
    this.#unchecked.delete(index);
    recent.put(id, index, bytes);
    return bytes;
  }

  /**
   * What was read of a chunk, if it is what was stored; else nothing that is kept is trusted any more.
   *
   * @param {number} index
   * @param {Bytes | undefined} bytes
   */
  async #intact(index, bytes) {
    const { sha256, size, chunk_size } = this.#chunks.manifest;
    const length = size === null ? chunk_size : Math.min(chunk_size, size - index * chunk_size);
    const isTrusted = bytes?.length === length && !this.#unchecked.has(index);
    if (bytes && (isTrusted || (await sha256Of(bytes)) === sha256[index])) {
      return bytes;
    }
    this.doubt();
    return undefined;
  }

  /** @param {number} index @returns {Promise<Bytes>} */
  async #fetchAgain(index) {
    const { name, url, chunk_size, sha256 } = this.#chunks.manifest;
    const damaged = `Chunk ${index} of ${name} (bytes ${index * chunk_size} on) is damaged in this browser's storage`;
    let bytes;
    try {
      bytes = await this.#fetch(index);
    } catch (error) {
      if (error.code === "Cancelled") {
        throw error;
      }
      const again = url.startsWith(LOCAL) ? "open the file again" : "load it again while the server can be reached";
      const what = `${damaged} and can't be fetched again: ${error.message} Either ${again}, or delete this model.`;
      throw failure("ChecksumMismatch", what);
    }
    const hash = await sha256Of(bytes);
    if (hash !== sha256[index]) {
      const what = `${damaged}, and the server has other bytes there by now. Delete this model and download it anew.`;
      throw failure("ChecksumMismatch", what);
    }
    await this.#chunks.put(index, bytes, hash);
    return bytes;
  }

  /** @param {number} index @returns {Promise<Bytes>} */
  async #fetch(index) {
    const { chunk_size: chunkSize, size } = this.#chunks.manifest;
    if (!this.#remote) {
      throw failure("ModelNotFound", "it came from a file on this computer.");
    }
    const start = index * chunkSize;
    const run = { ...this.#how, start, end: Math.min(start + chunkSize, size ?? Infinity), chunkSize };
    for await (const { bytes } of chunksOf(this.#remote, run)) {
      room.giveBack();
      return bytes;
    }
    throw failure("TruncatedFile", `${this.#remote.url} has no byte ${start}.`);
  }
}

/** Some of `values`, by chance. */
function sampleOf(values, count) {
  const rest = [...values];
  const draw = () => rest.splice(Math.floor(Math.random() * rest.length), 1)[0];
  return Array.from({ length: Math.min(count, rest.length) }, draw);
}
