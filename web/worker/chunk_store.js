// Where the chunks of one open file are kept: in IndexedDB, and from when that refuses in Blobs, which a browser holds
// outside the JavaScript heap.

import { changeManifest, getChunk, putChunk } from "./database.js";
import { inMegabytes } from "./failure.js";
import { storedBytes } from "./manifest.js";

/** @typedef {import("./heap.js").Bytes} Bytes */

export class ChunkStore {
  #blobs = new Map();
  #onNotice;

  /**
   * @param {import("./database.js").Manifest} manifest taken over and kept up to date
   * @param {object} options
   * @param {boolean} options.storing whether to use IndexedDB
   * @param {(notice: { code: string, message: string }) => void} options.onNotice
   */
  constructor(manifest, { storing, onNotice }) {
    this.manifest = manifest;
    this.storing = storing;
    this.#onNotice = onNotice;
  }

  /** @param {number} index */
  has(index) {
    return typeof this.manifest.sha256[index] === "string";
  }

  /**
   * @param {number} index
   * @param {Bytes} bytes
   * @param {string} sha256
   */
  async put(index, bytes, sha256) {
    const blob = new Blob([bytes]);
    if (!(await this.#store(() => putChunk(this.manifest, index, blob, sha256)))) {
      this.#blobs.set(index, blob);
    }
    while (this.manifest.sha256.length < index) {
      this.manifest.sha256.push(null);
    }
    this.manifest.sha256[index] = sha256;
  }

  /** The whole size is known at last. @param {number} size */
  async setSize(size) {
    this.manifest.size = size;
    await this.#store(async () => {
      await changeManifest(this.manifest, { size });
      return true;
    });
  }

  /** @param {number} index @returns {Promise<Bytes | undefined>} undefined: it is not there, or can't be read */
  async get(index) {
    try {
      const blob = this.#blobs.get(index) ?? (await getChunk(this.manifest.id, index));
      return blob && new Uint8Array(await blob.arrayBuffer());
    } catch {
      return undefined; // the file behind a Blob may be gone or damaged
    }
  }

  forget() {
    this.#blobs.clear();
  }

  async #store(write) {
    if (!this.storing) {
      return false;
    }
    try {
      this.storing = await write();
    } catch (error) {
      this.storing = false;
      this.#onNotice(await noticeOf(error, this.manifest));
    }
    return this.storing;
  }
}

/**
 * What to tell of storage that refuses.
 *
 * @param {any} error of IndexedDB
 * @param {import("./database.js").Manifest | { name: string }} about
 * @returns {Promise<{ code: string, message: string }>}
 */
export async function noticeOf(error, about) {
  if (error?.name !== "QuotaExceededError") {
    const message =
      `This browser stores nothing for this site, as in private windows (${error?.name ?? "Error"}: ` +
      `${error?.message ?? error}). ${about.name} runs from memory, and will be fetched again next time. ` +
      "A normal window stores it.";
    return { code: "CacheNotWritable", message };
  }
  const kept = "sha256" in about ? `${inMegabytes(storedBytes(about))} of ${sizeOf(about)} are stored; ` : "";
  const message =
    `No room to store ${about.name}: ${kept}the rest is held in memory until it is closed, and will be fetched again ` +
    `next time.${await hint()} Delete a model that you don't need, or free space on the disk.`;
  return { code: "NoSpace", message };
}

function sizeOf({ size }) {
  return size === null ? "it" : inMegabytes(size);
}

async function hint() {
  try {
    const { usage = 0, quota = 0 } = await navigator.storage.estimate();
    return ` This site uses ${inMegabytes(usage)} of about ${inMegabytes(quota)}.`;
  } catch {
    return "";
  }
}
