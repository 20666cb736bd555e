// What site.json says (docs/hosting.md describes it), and which addresses models may come from.

/**
 * @typedef {object} Entry a model of the catalogue
 * @property {string} name
 * @property {string} title
 * @property {string} url absolute
 * @property {number} [size] bytes
 * @property {string} [licence]
 * @property {import("../shaderlm.js").LoadOptions["expected"]} [expected]
 */

/**
 * @typedef {object} Site
 * @property {string} title
 * @property {string} notice
 * @property {string} logo an address, or empty
 * @property {string[]} origins
 * @property {Entry[]} catalogue the default model first
 * @property {boolean} broken
 */

/**
 * Reads site.json beside the page. One that is missing or broken leaves a site without models: `broken`.
 *
 * @returns {Promise<Site>}
 */
export async function readSite(base = document.baseURI) {
  try {
    const response = await fetch(new URL("site.json", base), { cache: "no-cache" });
    if (!response.ok) {
      throw new Error(`site.json: ${response.status}`);
    }
    return understood(await response.json(), base);
  } catch (error) {
    console.error(error);
    return { ...understood({}, base), broken: true };
  }
}

/**
 * site.json with absolute addresses, the default model first; what is missing is empty.
 *
 * @param {Record<string, any>} settings
 * @param {string} base
 * @returns {Site}
 */
export function understood(settings, base) {
  const rows = (settings.catalogue ?? []).filter((row) => row?.url).map((row) => entryOf(row, base));
  const catalogue = rows.filter((entry) => entry !== null);
  const first = catalogue.findIndex(({ name }) => name === settings.model);
  if (first > 0) {
    catalogue.unshift(...catalogue.splice(first, 1));
  }
  return {
    title: settings.title || "shaderlm",
    notice: settings.notice || "",
    logo: (settings.logo && whole(settings.logo, base)) || "",
    origins: settings.origins ?? [],
    catalogue,
    broken: false,
  };
}

/** @returns {Entry | null} null for a row that leads nowhere */
function entryOf({ name, title, url, size, licence, chunk_size, chunk_sha256, files }, base) {
  const expected = files ?? (chunk_sha256 ? { size, chunk_size, chunk_sha256 } : undefined);
  const address = whole(url, base);
  return address === null ? null : { name, title: title ?? name ?? url, url: address, size, licence, expected };
}

/** An address of site.json in full; null for what is none. @param {string} address @param {string} base */
function whole(address, base) {
  try {
    return new URL(address, base).href;
  } catch {
    console.error(`site.json: ${JSON.stringify(address)} is no address, and is left out.`);
    return null;
  }
}

/** The address of a file that somebody typed; null for what is none. A page of Hugging Face leads to its file. @param {string} text */
export function addressOf(text, base = document.baseURI) {
  try {
    const url = new URL(text.trim(), base);
    if (url.hostname === "huggingface.co") {
      url.pathname = url.pathname.replace(/^(\/[^/]+\/[^/]+)\/blob\//, "$1/resolve/");
    }
    return /^https?:$/.test(url.protocol) && /\.gguf$/i.test(url.pathname) ? url : null;
  } catch {
    return null;
  }
}

/** Whether the policy lets a model come from there: `origins` are as in site.json ("https://*.example", "https:"). */
export function isAllowed(url, origins, own = location.origin) {
  return url.origin === own || origins.some((origin) => matches(url, origin));
}

function matches(url, origin) {
  const [, scheme, wildcard, host, port] = /^(https?:)(?:\/\/(\*\.)?([^:/]+)(?::(\d+|\*))?)?$/.exec(origin) ?? [];
  if (!scheme || (scheme !== url.protocol && !(scheme === "http:" && url.protocol === "https:"))) {
    return false;
  }
  if (!host) {
    return true;
  }
  const isHost = wildcard ? url.hostname.endsWith(`.${host}`) : url.hostname === host;
  return isHost && (port === "*" || (port ?? "") === url.port);
}
