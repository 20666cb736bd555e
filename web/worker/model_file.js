// An open model file that comes from a URL: read from what is stored, and from the download while that goes on.

import { PAUSES } from "./download.js";
import { cancelled, failure } from "./failure.js";
import { Fetching } from "./fetching.js";
import { recent } from "./heap.js";
import { keyOf, storedBytes } from "./manifest.js";
import { Stored } from "./stored.js";

/** @typedef {import("./heap.js").Bytes} Bytes */

const TELL = 100; // ms between reports of progress

/**
 * @typedef {object} Progress
 * @property {number} done bytes
 * @property {number} total bytes; 0 while nobody knows
 * @property {"network" | "cache" | "file"} from
 */

export class ModelFile {
  #chunks;
  #stored;
  #controller;
  #pauses;
  /** @type {Fetching | undefined} where not everything was stored already */
  #fetching;
  /** @type {(() => void)[]} what to call when something arrives, or nothing more will */
  #waiting = [];
  /** @type {Error | undefined} why nothing can be read any more */
  #ended;
  #finished = Promise.resolve();
  #report;

  /**
   * @param {object} parts
   * @param {import("./chunk_store.js").ChunkStore} parts.chunks
   * @param {import("./remote.js").Remote | null} parts.remote null: what is stored is all there is
   * @param {AbortController} parts.controller ends everything, the remote's requests too
   * @param {number[]} [parts.pauses]
   * @param {(progress: Progress) => void} parts.onProgress
   */
  constructor({ chunks, remote, controller, pauses = PAUSES, onProgress }) {
    this.#chunks = chunks;
    this.#controller = controller;
    this.#pauses = pauses;
    this.#stored = new Stored(chunks, remote, { pauses, signal: controller.signal });
    this.#report = new Report({ done: 0, total: this.size, from: "cache" }, onProgress);
    controller.signal.addEventListener("abort", () => this.#end(cancelled(`Loading ${this.name}`)));
  }

  get name() {
    return this.#chunks.manifest.name;
  }

  /** In bytes. Not known before the end where a server does not tell; `openModel` waits for it. */
  get size() {
    return /** @type {number} */ (this.#chunks.manifest.size);
  }

  /** What finds that belong to this file are kept under: unique per URL and version. */
  get key() {
    return keyOf(this.#chunks.manifest);
  }

  /**
   * Begin to fetch what is not stored.
   *
   * @param {import("./remote.js").Remote} remote
   * @param {import("./remote.js").Answer} answer to the request for the first bytes that are missing
   * @param {import("./manifest.js").Expected} [expected]
   */
  download(remote, answer, expected) {
    const { manifest } = this.#chunks;
    const { signal } = this.#controller;
    this.#report.begin({ done: storedBytes(manifest), total: manifest.size, from: "network" });
    /** @param {number} bytes */
    const onBytes = (bytes) => this.#report.add("network", bytes);
    /** @param {Error} error */
    const onWrong = (error) => {
      this.#end(error);
      this.#controller.abort();
    };
    const onArrival = () => this.#wake();
    this.#fetching = new Fetching({ chunks: this.#chunks, remote, expected, onArrival, onWrong });
    const how = { chunkSize: manifest.chunk_size, pauses: this.#pauses, signal, onBytes };
    this.#finished = this.#fetching.run(how, answer).then(
      () => this.#report.end(this.size),
      (error) => {
        this.#end(error);
        throw this.#ended;
      },
    );
    this.#finished.catch(() => {}); // who wants to know asks finished()
  }

  /**
   * Some bytes, for a parser.
   *
   * @param {number} offset
   * @param {number} size
   * @returns {Promise<Bytes>} fewer bytes only at the end of the file
   */
  async read(offset, size) {
    const end = Math.min(offset + size, this.size);
    return offset < end ? this.#bytes(offset, end) : new Uint8Array();
  }

  /**
   * Bytes for the GPU. Waits until the download has got there. The caller owns them, and should `free` them.
   *
   * @param {number} offset
   * @param {number} size
   * @returns {Promise<Bytes>}
   */
  async chunk(offset, size) {
    refusePastEnd(this, offset, size);
    return this.#bytes(offset, offset + size);
  }

  /** Resolves when everything is stored, or kept in memory; rejects with what ended the download. */
  finished() {
    return this.#finished;
  }

  /** Hash all that is stored, and fetch again what is damaged. */
  async verify() {
    this.#stored.doubt();
    for (const index of this.#stored.indices()) {
      await this.#chunk(index);
    }
  }

  /** The model is loaded, or given up. What has arrived is still stored, or a notice says why not. Idempotent. */
  close() {
    this.#report.stop();
    this.#end(failure("ModelClosed", `${this.name} was closed.`));
    if (this.#fetching?.received === false) {
      this.#controller.abort();
    }
    this.#finished
      .catch(() => {})
      .then(() => {
        this.#chunks.forget();
        recent.drop(this.#chunks.manifest.id);
      });
  }

  async #bytes(start, end) {
    const size = this.#chunks.manifest.chunk_size;
    const bytes = new Uint8Array(end - start);
    for (let index = Math.floor(start / size); index * size < end; index += 1) {
      const at = index * size - start;
      let chunk;
      do {
        chunk = await this.#chunk(index);
      } while (chunk.length === 0); // other reads came in between, and it was freed
      bytes.set(chunk.subarray(Math.max(-at, 0), end - index * size), Math.max(at, 0));
    }
    return bytes;
  }

  /** @param {number} index @returns {Promise<Bytes>} */
  async #chunk(index) {
    while (!this.#ended) {
      const arrived = this.#fetching?.arrived.get(index);
      if (arrived) {
        return arrived;
      }
      if (this.#chunks.has(index)) {
        const bytes = await this.#stored.chunk(index);
        this.#report.addOnce("cache", index, bytes.length);
        return bytes;
      }
      await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
    }
    throw this.#ended;
  }

  /** @param {Error} error */
  #end(error) {
    this.#ended ??= error;
    this.#wake();
  }

  #wake() {
    this.#waiting.splice(0).forEach((resolve) => resolve());
  }
}

/** @param {{ name: string, size: number }} file @param {number} offset @param {number} size */
export function refusePastEnd(file, offset, size) {
  if (offset + size > file.size) {
    throw failure(
      "TruncatedFile",
      `${file.name}: bytes ${offset} to ${offset + size} are wanted, but the file has only ${file.size}.`,
    );
  }
}

/** Tells of progress, but not of every step. */
export class Report {
  /** @type {Progress} */
  #progress = { done: 0, total: 0, from: "cache" };
  #onProgress;
  #told = -Infinity;
  #counted = new Set();

  /** @typedef {Omit<Progress, "total"> & { total: number | null }} Begun null: nobody knows yet */

  /** @param {Begun} progress @param {(progress: Progress) => void} onProgress */
  constructor(progress, onProgress) {
    this.#onProgress = onProgress;
    this.begin(progress);
  }

  /** @param {Begun} progress */
  begin({ done, total, from }) {
    this.#progress = { done, total: total ?? 0, from };
  }

  /** @param {Progress["from"]} from @param {number} bytes */
  add(from, bytes) {
    if (from === this.#progress.from) {
      this.#progress.done += bytes;
      this.#tell(this.#progress.done === this.#progress.total);
    }
  }

  /** Count a part once, however often it is read. @param {Progress["from"]} from @param {number} part @param {number} bytes */
  addOnce(from, part, bytes) {
    if (!this.#counted.has(part)) {
      this.#counted.add(part);
      this.add(from, bytes);
    }
  }

  /** @param {number} total */
  end(total) {
    if (this.#progress.total !== total) {
      this.#progress = { ...this.#progress, done: total, total };
      this.#tell(true);
    }
  }

  stop() {
    this.#onProgress = () => {};
  }

  #tell(now) {
    if (now || performance.now() - this.#told >= TELL) {
      this.#told = performance.now();
      this.#onProgress({ ...this.#progress });
    }
  }
}
