// Manifests: what is known of a file and of its chunks. Pure functions, but for the clock and the random name.

import { nameOf } from "../addresses.js";
import { failure } from "./failure.js";

/** @typedef {import("./database.js").Manifest} Manifest */

/**
 * The hashes that a catalogue publishes of a file.
 *
 * @typedef {object} Expected
 * @property {number} size in bytes
 * @property {number} chunk_size
 * @property {string[]} chunk_sha256 in hexadecimal
 */

export const CHUNK_SIZE = 4 << 20;
export const LOCAL = "local:"; // how the URL begins under which a file of this computer is kept

/**
 * @param {string} url
 * @param {{ size: number | null, etag: string | null, lastModified: string | null }} facts
 * @param {number} chunkSize
 * @param {Expected} [expected]
 * @returns {Promise<Manifest>} of a file of which nothing is stored yet
 */
export async function newManifest(url, { etag, lastModified, ...facts }, chunkSize, expected) {
  const id = crypto.randomUUID();
  const size = expected?.size ?? facts.size;
  return {
    url,
    id,
    version: expected ? await versionOf(expected) : (etag ?? lastModified ?? id),
    name: nameOf(url),
    etag,
    last_modified: lastModified,
    size,
    chunk_size: chunkSize,
    sha256: new Array(size === null ? 0 : Math.ceil(size / chunkSize)).fill(null),
    last_used: Date.now(),
  };
}

/**
 * A manifest as far as it agrees with what was published: chunks that differ count as not stored.
 *
 * @param {Manifest | undefined} manifest
 * @param {Expected} [expected]
 * @returns {Promise<Manifest | undefined>} undefined: nothing of it is of use
 */
export async function agreeing(manifest, expected) {
  if (!manifest || !expected) {
    return manifest;
  }
  if (manifest.size !== expected.size || manifest.chunk_size !== expected.chunk_size) {
    return undefined;
  }
  const sha256 = expected.chunk_sha256.map((hash, index) => (manifest.sha256[index] === hash ? hash : null));
  return { ...manifest, sha256, version: await versionOf(expected) };
}

/** @param {Manifest} manifest */
export function isComplete({ size, chunk_size, sha256 }) {
  return size !== null && sha256.length === Math.ceil(size / chunk_size) && !sha256.includes(null);
}

/** Bytes of a manifest's file that are stored. @param {Manifest} manifest */
export function storedBytes({ size, chunk_size, sha256 }) {
  const bytes = sha256.filter((hash) => hash !== null).length * chunk_size;
  const end = size ?? 0;
  const last = Math.ceil(end / chunk_size) - 1;
  return sha256[last] ? bytes - ((last + 1) * chunk_size - end) : bytes;
}

/**
 * The runs of bytes that are not stored, as [start, end); the end is null where the size is not known.
 *
 * @param {Manifest} manifest
 * @returns {[number, number | null][]}
 */
export function gapsIn({ size, chunk_size, sha256 }) {
  /** @type {[number, number | null][]} */
  const gaps = [];
  for (let index = 0; index < sha256.length; index += 1) {
    if (sha256[index] !== null) {
      continue;
    }
    const [start, end] = [index * chunk_size, Math.min((index + 1) * chunk_size, size ?? Infinity)];
    const last = gaps.at(-1);
    if (last?.[1] === start) {
      last[1] = end;
    } else {
      gaps.push([start, end]);
    }
  }
  if (size === null) {
    gaps.push([sha256.length * chunk_size, null]);
  }
  return gaps;
}

/**
 * What a server should still say of the file, if nothing is to be mixed. What was published outweighs its word.
 *
 * @param {Manifest} manifest
 * @param {Expected} [expected]
 * @returns {import("./remote.js").Facts}
 */
export function factsOf({ size, etag, last_modified }, expected) {
  return expected ? { size, etag: null, lastModified: null } : { size, etag, lastModified: last_modified };
}

/** What finds are kept under that belong to this file. @param {Manifest} manifest */
export function keyOf({ url, version }) {
  return `${url}#${version}`;
}

/** A URL as models are listed by: whole, and without a fragment. @param {string} url */
export function absolute(url) {
  const base = globalThis.location?.href;
  try {
    return Object.assign(new URL(url, base), { hash: "" }).href;
  } catch {
    throw failure("InvalidOption", `source: ${JSON.stringify(url)} is no URL.`);
  }
}

/** @param {BufferSource} bytes @returns {Promise<string>} in hexadecimal */
export async function sha256Of(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function versionOf({ chunk_sha256 }) {
  return `sha256-${await sha256Of(new TextEncoder().encode(chunk_sha256.join("\n")))}`;
}
