// Models that are kept in this browser: files that are parts of one are one model.

import { nameOf } from "../addresses.js";
import { partOf } from "../parts.js";

/** @typedef {import("../shaderlm.js").StoredModel} StoredFile */

/**
 * @typedef {object} KeptModel
 * @property {string} url that it is known by: the first file's
 * @property {string | string[]} place to load it from
 * @property {string[]} urls of the files that are there
 * @property {number} size bytes, 0 if nobody knows yet
 * @property {number} stored bytes that it takes
 * @property {boolean} complete
 */

/** @param {StoredFile[]} files as listModels gives them @returns {KeptModel[]} in the order of their first files there */
export function modelsOf(files) {
  const keys = new Set(files.map(modelKey));
  return [...keys].map((key) => modelOf(files.filter((file) => modelKey(file) === key)));
}

/** What the addresses of a model's files have in common. @param {StoredFile} file */
function modelKey({ url }) {
  const part = partOf(nameOf(url));
  return part ? `${url.slice(0, url.search(/[^/:]*$/))}${part.model} ${part.count}` : url;
}

/** @param {StoredFile[]} files of one model @returns {KeptModel} */
function modelOf(files) {
  const numbered = files.map((file) => ({ ...file, ...(partOf(nameOf(file.url)) ?? { number: 1, count: 1 }) }));
  numbered.sort((one, other) => one.number - other.number); // the last used first, where a part is there twice
  const parts = numbered.filter(({ number }, at) => number !== numbered[at - 1]?.number);
  const [{ url, count }] = parts;
  const isLocal = url.startsWith("local:"); // where one file's address does not tell the others'
  const first = count > 1 && !isLocal ? url.replace(/-\d{5}-of-(\d{5}\.)/, "-00001-of-$1") : url;
  const isWhole = parts.length === count;
  return {
    url: first,
    place: count > 1 && isLocal ? parts.map((part) => part.url) : first,
    urls: numbered.map((file) => file.url),
    size: isWhole && parts.every(({ size }) => size) ? sum(parts.map(({ size }) => size)) : 0,
    stored: sum(files.map(({ stored }) => stored)),
    complete: isWhole && parts.every(({ complete }) => complete),
  };
}

/** @param {number[]} numbers */
export function sum(numbers) {
  return numbers.reduce((all, number) => all + number, 0);
}
