// An open model file of this computer, dropped or picked: read in slices, never uploaded, copied into storage if asked.

import { cancelled, failure } from "./failure.js";
import { free } from "./heap.js";
import { isComplete, keyOf, sha256Of } from "./manifest.js";
import { Report, refusePastEnd } from "./model_file.js";

/** @typedef {import("./heap.js").Bytes} Bytes */

export class LocalFile {
  #file;
  #chunks;
  #ended;
  #report;
  #finished;

  /**
   * @param {File} file
   * @param {object} options
   * @param {import("./chunk_store.js").ChunkStore} options.chunks into which it is copied where that stores
   * @param {AbortSignal} options.signal
   * @param {(progress: import("./model_file.js").Progress) => void} options.onProgress
   */
  constructor(file, { chunks, signal, onProgress }) {
    this.#file = file;
    this.#chunks = chunks;
    this.#report = new Report({ done: 0, total: file.size, from: "file" }, onProgress);
    signal.addEventListener("abort", () => {
      this.#ended ??= cancelled(`Loading ${this.name}`);
    });
    this.#finished = this.#copy();
    this.#finished.catch(() => {}); // who wants to know asks finished()
  }

  get name() {
    return this.#file.name;
  }

  get size() {
    return this.#file.size;
  }

  get key() {
    return keyOf(this.#chunks.manifest);
  }

  /** @param {number} offset @param {number} size @returns {Promise<Bytes>} fewer bytes only at the file's end */
  read(offset, size) {
    return this.#bytes(offset, offset + size);
  }

  /** @param {number} offset @param {number} size @returns {Promise<Bytes>} */
  async chunk(offset, size) {
    refusePastEnd(this, offset, size);
    const bytes = await this.#bytes(offset, offset + size);
    this.#report.add("file", size);
    return bytes;
  }

  /** Resolves when it is copied, as far as it is to be; rejects with why not. */
  finished() {
    return this.#finished;
  }

  /** Nothing is known that it could be held against. */
  async verify() {}

  /** Copying goes on, and tells what goes wrong. Idempotent. */
  close() {
    this.#report.stop();
    this.#ended ??= failure("ModelClosed", `${this.name} was closed.`);
  }

  async #bytes(start, end) {
    if (this.#ended) {
      throw this.#ended;
    }
    return this.#slice(start, end);
  }

  async #slice(start, end) {
    try {
      return new Uint8Array(await this.#file.slice(start, end).arrayBuffer());
    } catch (error) {
      throw failure(
        "ModelNotFound",
        `${this.name} can't be read any more (${error?.message ?? error}): it was moved, changed or deleted since it ` +
          "was chosen. Choose it again.",
      );
    }
  }

  async #copy() {
    const { manifest } = this.#chunks;
    for (let index = 0; this.#chunks.storing && !isComplete(manifest); index += 1) {
      if (this.#ended?.code === "Cancelled") {
        throw this.#ended;
      }
      if (!this.#chunks.has(index)) {
        const bytes = await this.#slice(index * manifest.chunk_size, (index + 1) * manifest.chunk_size);
        await this.#chunks.put(index, bytes, await sha256Of(bytes));
        free(bytes);
      }
    }
    this.#chunks.forget(); // what could not be stored need not be held: the file is there
  }
}
