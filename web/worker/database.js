// What this site keeps in IndexedDB: models in chunks, and small finds.
//
//   models   by URL: a Manifest
//   chunks   by [id of the manifest, index]: a Blob
//   finds    by key: bytes or text; those of a model end with a space and its keyOf, and go when it goes
//
// A chunk and its hash in the manifest are written by one transaction, so the hashes tell what is stored. Every
// function rejects with what IndexedDB says: QuotaExceededError on a full disk, all sorts where storage is refused.

import { keyOf } from "./manifest.js";

const NAME = "shaderlm";
const VERSION = 1;

/**
 * @typedef {object} Manifest
 * @property {string} url
 * @property {string} id of this copy: its chunks are stored under it
 * @property {string} version what tells it from other files that the URL has led to
 * @property {string} name
 * @property {string | null} etag
 * @property {string | null} last_modified
 * @property {number | null} size in bytes; null while only the end of the download will tell
 * @property {number} chunk_size
 * @property {(string | null)[]} sha256 of each chunk, in hexadecimal; null: it is not stored
 * @property {number} last_used milliseconds since 1970
 */

/** @type {Promise<IDBDatabase> | undefined} */
let opened;

/** @returns {Promise<IDBDatabase>} */
export function openDatabase() {
  opened ??= open().catch((error) => {
    opened = undefined;
    throw error;
  });
  return opened;
}

/** @param {string} url @returns {Promise<Manifest | undefined>} */
export function findManifest(url) {
  return transact("readonly", ["models"], (models) => models.get(url));
}

/** @returns {Promise<Manifest[]>} */
export function allManifests() {
  return transact("readonly", ["models"], (models) => models.getAll());
}

/**
 * Take a manifest in. It replaces what its URL had, chunks included; unless that is an older state of the same copy,
 * or another tab came first with the same version.
 *
 * @param {Manifest} manifest
 * @returns {Promise<Manifest>} the one that is there now
 */
export function takeIn(manifest) {
  return transact("readwrite", ["models", "chunks", "finds"], async (models, chunks, finds) => {
    const there = await models.get(manifest.url);
    if (there?.id === manifest.id) {
      await models.put(manifest);
      return manifest;
    }
    if (there && there.version === manifest.version && there.chunk_size === manifest.chunk_size) {
      return there;
    }
    if (there) {
      await drop(there, chunks, finds);
    }
    await models.put(manifest);
    return manifest;
  });
}

/**
 * Change some properties of a manifest, if it is still there.
 *
 * @param {Manifest} manifest
 * @param {Partial<Manifest>} changes
 */
export function changeManifest({ url, id }, changes) {
  return transact("readwrite", ["models"], async (models) => {
    const there = await models.get(url);
    if (there?.id === id) {
      await models.put({ ...there, ...changes });
    }
  });
}

/**
 * @param {Manifest} manifest
 * @param {number} index
 * @param {Blob} blob
 * @param {string} sha256
 * @returns {Promise<boolean>} false: the model was deleted or replaced in the meantime, and nothing is stored
 */
export function putChunk({ url, id }, index, blob, sha256) {
  return transact("readwrite", ["models", "chunks"], async (models, chunks) => {
    const there = await models.get(url);
    if (there?.id !== id) {
      return false;
    }
    while (there.sha256.length < index) {
      there.sha256.push(null);
    }
    there.sha256[index] = sha256;
    await chunks.put(blob, [id, index]);
    await models.put(there);
    return true;
  });
}

/** @param {string} id @param {number} index @returns {Promise<Blob | undefined>} */
export function getChunk(id, index) {
  return transact("readonly", ["chunks"], (chunks) => chunks.get([id, index]));
}

/**
 * @param {string} url
 * @param {string} [id] delete only this copy
 * @returns {Promise<boolean>} whether there was one
 */
export function removeModel(url, id) {
  return transact("readwrite", ["models", "chunks", "finds"], async (models, chunks, finds) => {
    const there = await models.get(url);
    if (!there || (id && there.id !== id)) {
      return false;
    }
    await drop(there, chunks, finds);
    await models.delete(url);
    return true;
  });
}

/** @param {string} key @returns {Promise<Uint8Array | string | undefined>} */
export function readFind(key) {
  return transact("readonly", ["finds"], (finds) => finds.get(key));
}

/** @param {string} key @param {Uint8Array | string} value */
export function writeFind(key, value) {
  return transact("readwrite", ["finds"], (finds) => finds.put(value, key));
}

/** Delete what belongs to a manifest. */
async function drop(manifest, chunks, finds) {
  await chunks.delete(allOf(manifest.id));
  const keys = await finds.getAllKeys();
  await Promise.all(keys.filter((key) => key.endsWith(` ${keyOf(manifest)}`)).map((key) => finds.delete(key)));
}

function allOf(id) {
  return IDBKeyRange.bound([id], [id, []]); // an array sorts behind every number
}

async function open() {
  const request = indexedDB.open(NAME, VERSION);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("models", { keyPath: "url" });
    request.result.createObjectStore("chunks");
    request.result.createObjectStore("finds");
  };
  const database = await answer(request);
  const forget = () => {
    opened = undefined;
  };
  database.onclose = forget;
  database.onversionchange = () => {
    database.close();
    forget();
  };
  return database;
}

/**
 * @template T
 * @param {"readonly" | "readwrite"} mode
 * @param {string[]} names
 * @param {(...stores: any[]) => Promise<T>} work may wait for what it asks of its stores, and for nothing else
 * @returns {Promise<T>} what `work` gives, once it is written
 */
async function transact(mode, names, work) {
  const transaction = (await openDatabase()).transaction(names, mode);
  const ended = new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve(undefined);
    transaction.onabort = () => reject(transaction.error);
  });
  try {
    const result = await work(...names.map((name) => asking(transaction.objectStore(name))));
    await ended;
    return result;
  } catch (error) {
    ended.catch(() => {});
    abort(transaction);
    throw transaction.error ?? error; // why it was aborted, rather than that it was
  }
}

/** An object store whose methods give promises. */
function asking(store) {
  const ask = (method) => (...values) => answer(store[method](...values));
  return Object.fromEntries(["get", "getAll", "getAllKeys", "put", "delete"].map((method) => [method, ask(method)]));
}

function answer(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function abort(transaction) {
  try {
    transaction.abort();
  } catch {
    // it has ended already
  }
}
