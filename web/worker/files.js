// The bytes of models in a browser's worker: fetched, kept in IndexedDB in chunks, read while they come.
//
// Errors carry a `code` (failure.js): ModelNotFound, AccessDenied, NetworkError, ChecksumMismatch, InvalidFile,
// TruncatedFile, Cancelled, ModelClosed. Notices, which end nothing: NoSpace, CacheNotWritable, NetworkError.

import { allManifests, readFind, removeModel, writeFind } from "./database.js";
import { PAUSES } from "./download.js";
import { CHUNK_SIZE, absolute, isComplete, keyOf, storedBytes } from "./manifest.js";
import { openLocal, openUrl } from "./opening.js";

export { free } from "./heap.js";

/**
 * @typedef {object} OpenOptions
 * @property {import("./manifest.js").Expected} [expected] what the catalogue publishes of a URL's file; wins over all
 * @property {(progress: import("./model_file.js").Progress) => void} [onProgress]
 * @property {(notice: { code: string, message: string }) => void} [onNotice] what went wrong without ending anything
 * @property {AbortSignal} [signal]
 * @property {boolean} [verify] hash everything that is stored, not only a sample
 * @property {boolean} [store] keep it; by default a URL's file is kept and a local one is not
 * @property {boolean} [refresh] ask the server whether it has another file by now, though this one is stored whole
 * @property {typeof globalThis.fetch} [fetch]
 * @property {number} [chunkSize] in bytes, for what is not stored yet
 * @property {number[]} [pauses] ms before further tries
 */

/**
 * Open a model file. One that is stored whole asks nothing of the network; one that is not begins, or goes on, to be
 * downloaded.
 *
 * @param {string | File} source
 * @param {OpenOptions} [options]
 * @returns {Promise<import("./model_file.js").ModelFile | import("./local_file.js").LocalFile>}
 */
export async function openModel(source, options = {}) {
  const given = {
    onProgress: () => {},
    onNotice: () => {},
    verify: false,
    store: typeof source === "string",
    refresh: false,
    fetch: globalThis.fetch,
    pauses: PAUSES,
    ...Object.fromEntries(Object.entries(options).filter(([, value]) => value != null)),
    chunkSize: options.expected?.chunk_size ?? options.chunkSize ?? CHUNK_SIZE,
  };
  return typeof source === "string" ? openUrl(source, given) : openLocal(source, given);
}

/**
 * @typedef {object} StoredModel
 * @property {string} key what finds that belong to it are kept under
 * @property {string} url
 * @property {string} name
 * @property {number} size bytes of the file, 0 if nobody knows yet
 * @property {number} stored bytes that it takes
 * @property {boolean} complete
 * @property {number} last_used milliseconds since 1970
 */

/** @returns {Promise<StoredModel[]>} the last used first; none where storage is refused */
export async function listModels() {
  const manifests = await allManifests().catch(() => []);
  const rows = manifests.map((manifest) => ({
    key: keyOf(manifest),
    url: manifest.url,
    name: manifest.name,
    size: manifest.size ?? 0,
    stored: storedBytes(manifest),
    complete: isComplete(manifest),
    last_used: manifest.last_used,
  }));
  return rows.sort((one, other) => other.last_used - one.last_used);
}

/** Free the space of a model. @param {string} url as listed @returns {Promise<boolean>} whether it was there */
export async function deleteModel(url) {
  return removeModel(absolute(url)).catch(() => false);
}

/** @param {string} key @returns {Promise<Uint8Array | string | undefined>} what was put there last, if it was kept */
export async function getFind(key) {
  return readFind(key).catch(() => undefined);
}

/** @param {string} key @param {Uint8Array | string} value which can be found again: no error where it can't be kept */
export async function putFind(key, value) {
  await writeFind(key, value).catch(() => {});
}
