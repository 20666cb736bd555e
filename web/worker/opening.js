// How a model file is opened: what is stored already, what another tab is about to store, what has to be asked for.

import { ChunkStore, noticeOf } from "./chunk_store.js";
import { changeManifest, findManifest, openDatabase, takeIn } from "./database.js";
import { patiently } from "./download.js";
import { cancelled, failure } from "./failure.js";
import { LocalFile } from "./local_file.js";
import { hold } from "./lock.js";
import { LOCAL, absolute, agreeing, factsOf, gapsIn, isComplete, newManifest, storedBytes } from "./manifest.js";
import { ModelFile } from "./model_file.js";
import { Remote } from "./remote.js";

const LOOK = 500; // ms between looks at what another tab has stored

/** @typedef {import("./database.js").Manifest} Manifest */
/** @typedef {import("./files.js").OpenOptions} OpenOptions */
/** @typedef {OpenOptions & Omit<Required<OpenOptions>, "expected" | "signal">} Given with all that have a default */

/**
 * @param {string} source
 * @param {Given} given
 */
export async function openUrl(source, given) {
  const opening = new Opening(absolute(source), given);
  const file = await opening.open();
  try {
    if (file.size === null) {
      await file.finished(); // nobody can read a file whose size is not known
    }
    if (given.verify) {
      await file.verify();
    }
    return file;
  } catch (error) {
    file.close();
    throw error;
  }
}

/**
 * @param {File} file
 * @param {Given} given
 */
export async function openLocal(file, given) {
  const { signal } = controllerFor(given);
  const url = absolute(`${LOCAL}${encodeURIComponent(file.name)}?${file.size}-${file.lastModified}`);
  const facts = { size: file.size, etag: null, lastModified: String(file.lastModified) };
  const fresh = await newManifest(url, facts, given.chunkSize);
  const { manifest, storing } = await begun(fresh, given.store && (await isStoragePossible(file.name, given)), given);
  return new LocalFile(file, { ...given, chunks: new ChunkStore(manifest, { ...given, storing }), signal });
}

class Opening {
  #url;
  #given;
  #controller;
  #remote;
  #storage = false; // whether IndexedDB answers
  /** @type {string | undefined} */
  #outdated; // id of a stored file that the server has replaced

  /**
   * @param {string} url
   * @param {Given} given
   */
  constructor(url, given) {
    this.#url = url;
    this.#given = given;
    this.#controller = controllerFor(given);
    this.#remote = new Remote(url, { fetch: given.fetch, signal: this.#controller.signal });
  }

  async open() {
    this.#storage = await isStoragePossible(this.#remote.name, this.#given);
    const stored = await this.#stored();
    if (stored && this.#given.refresh && isComplete(stored) && (await this.#isOutdated(stored))) {
      this.#outdated = stored.id;
    } else if (stored && isComplete(stored)) {
      return this.#openStored(stored);
    }
    if (this.#url.startsWith(LOCAL)) {
      throw failure("ModelNotFound", `${this.#remote.name} is not stored whole in this browser: open the file again.`);
    }
    const release = this.#storage && this.#given.store ? await this.#hold() : () => {};
    try {
      return await this.#openHeld(release);
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The manifest of what is stored, as far as it is of use. @returns {Promise<Manifest | undefined>} */
  async #stored() {
    const manifest = this.#storage ? await findManifest(this.#url) : undefined;
    return manifest?.id === this.#outdated ? undefined : agreeing(manifest, this.#given.expected);
  }

  /** @param {Manifest} manifest */
  async #isOutdated(manifest) {
    this.#remote.known = factsOf(manifest);
    try {
      return await this.#remote.hasChanged();
    } catch (error) {
      if (error.code === "Cancelled") {
        throw error;
      }
      const message = `Whether ${manifest.name} is the newest is not known; the stored one is used. ${error.message}`;
      this.#given.onNotice({ code: "NetworkError", message });
      return false;
    }
  }

  async #hold() {
    const look = async () => {
      const manifest = await this.#stored().catch(() => undefined);
      if (manifest) {
        this.#given.onProgress({ done: storedBytes(manifest), total: manifest.size ?? 0, from: "network" });
      }
    };
    const looking = setInterval(look, LOOK);
    try {
      return await hold(this.#url, this.#controller.signal);
    } finally {
      clearInterval(looking);
    }
  }

  /** @param {() => void} release */
  async #openHeld(release) {
    const stored = await this.#stored(); // another tab may have been at work
    if (stored && isComplete(stored)) {
      release();
      return this.#openStored(stored);
    }
    const { answer, manifest, storing } = await this.#begin(stored);
    const onNotice = (notice) => {
      release(); // whoever waits gets nothing from here
      this.#given.onNotice(notice);
    };
    const file = this.#fileOf(new ChunkStore(manifest, { storing, onNotice }));
    file.download(this.#remote, answer, this.#given.expected);
    file
      .finished()
      .catch(() => {})
      .then(release);
    return file;
  }

  /** @param {Manifest} [stored] */
  async #begin(stored) {
    const { expected, chunkSize, store } = this.#given;
    const isOfUse = stored && (expected || stored.etag || stored.last_modified);
    let manifest = isOfUse ? { ...stored, last_used: Date.now() } : undefined;
    const answer = await this.#ask(manifest);
    refuseUnexpectedSize(answer, this.#url, expected);
    if (answer.changed || !manifest) {
      manifest = await newManifest(this.#url, answer.facts, chunkSize, expected);
    }
    refuseEmpty(manifest);
    const kept = await begun(manifest, this.#storage && store, this.#given);
    this.#remote.known = factsOf(kept.manifest, expected);
    return { answer: { ...answer, changed: false }, ...kept }; // the manifest is of the file that is there now
  }

  /**
   * Ask for the first bytes that are missing; for all of them, where the server has another file by now.
   *
   * @param {Manifest} [manifest]
   */
  async #ask(manifest) {
    const how = { pauses: this.#given.pauses, signal: this.#controller.signal };
    const ask = (start, end) => patiently(() => this.#remote.ask(start, end), how);
    this.#remote.known = manifest && factsOf(manifest, this.#given.expected);
    const [start, end] = manifest ? gapsIn(manifest)[0] : [0, null];
    const answer = await ask(start, end);
    if (!answer.changed || answer.start === 0) {
      return answer;
    }
    answer.drop();
    this.#remote.known = undefined;
    return { ...(await ask(0, null)), changed: true };
  }

  /** @param {Manifest} manifest */
  #openStored(manifest) {
    changeManifest(manifest, { last_used: Date.now() }).catch(() => {});
    this.#remote.known = factsOf(manifest, this.#given.expected);
    return this.#fileOf(new ChunkStore(manifest, { storing: true, onNotice: this.#given.onNotice }));
  }

  /** @param {ChunkStore} chunks */
  #fileOf(chunks) {
    const remote = this.#url.startsWith(LOCAL) ? null : this.#remote;
    const { pauses, onProgress } = this.#given;
    return new ModelFile({ chunks, remote, controller: this.#controller, pauses, onProgress });
  }
}

/**
 * A manifest, taken into storage if it is to be, and whether it was.
 *
 * @param {Manifest} manifest
 * @param {boolean} storing
 * @param {Given} given
 */
async function begun(manifest, storing, { onNotice, expected }) {
  if (!storing) {
    return { manifest, storing };
  }
  try {
    const there = await takeIn(manifest);
    return { manifest: (await agreeing(there, expected)) ?? manifest, storing };
  } catch (error) {
    onNotice(await noticeOf(error, manifest));
    return { manifest, storing: false };
  }
}

/** @param {string} name @param {Given} given */
async function isStoragePossible(name, { store, onNotice }) {
  try {
    await openDatabase();
    return true;
  } catch (error) {
    if (store) {
      onNotice(await noticeOf(error, { name }));
    }
    return false;
  }
}

/** Ends what is opened when the caller's signal says so. @param {Given} given */
function controllerFor({ signal }) {
  const controller = new AbortController();
  if (signal?.aborted) {
    throw cancelled("Loading");
  }
  signal?.addEventListener("abort", () => controller.abort(), { once: true });
  return controller;
}

/** @param {import("./remote.js").Answer} answer @param {string} url @param {Given["expected"]} expected */
function refuseUnexpectedSize(answer, url, expected) {
  const { size } = answer.facts;
  if (expected && size !== null && size !== expected.size) {
    answer.drop();
    throw failure(
      "ChecksumMismatch",
      `${url} has ${size} bytes, but ${expected.size} were published: it is another file. Tell whoever runs this site.`,
    );
  }
}

/** @param {Manifest} manifest */
function refuseEmpty({ url, size }) {
  if (size === 0) {
    throw failure("InvalidFile", `${url} is empty. Check the address.`);
  }
}
