// The service worker: keeps all files of one version of the site, so that the page opens without a network.
//
// A version is kept whole or not at all: each file must have the hash that this version was built with. It is served to
// pages only when none uses another version any more, or when the reader says so. Nothing else passes through here:
// neither models nor other origins. site.json may change at any time, and with it the policy that comes with the answer
// for the worker's script: of these two the network's is taken where there is one.

/* global SHADERLM_SITE */
const { version, files } = SHADERLM_SITE;
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (globalThis));
const scope = new URL(worker.registration.scope);
const PREFIX = `shaderlm ${scope.pathname} `; // caches belong to a whole origin, which may hold several sites
const KEPT = PREFIX + version;
const SETTINGS = `${PREFIX}settings`;
const POLICED = new URL("assets/worker-", scope).href; // how the worker's address begins
const settings = new URL("site.json", scope).href;
const hashes = new Map(files.map(({ path, sha256 }) => [new URL(path, scope).href, sha256]));

worker.addEventListener("install", (event) => event.waitUntil(install()));
worker.addEventListener("activate", (event) => event.waitUntil(removeOthers()));
worker.addEventListener("message", (event) => event.data === "take over" && worker.skipWaiting());

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  url.search = url.hash = "";
  if (url.href === scope.href) {
    url.pathname += "index.html";
  }
  if (request.method !== "GET") {
    return;
  }
  if (url.href === settings) {
    event.respondWith(currentSettings());
  } else if (hashes.has(url.href)) {
    event.respondWith(url.href.startsWith(POLICED) ? currentFile(url.href) : keptFile(url.href));
  }
});

async function install() {
  const cache = await caches.open(KEPT);
  try {
    const known = new Set((await cache.keys()).map(({ url }) => url));
    const missing = [...hashes.keys()].filter((url) => !known.has(url));
    await Promise.all(missing.map(async (url) => cache.put(url, await fetched(url))));
  } catch (error) {
    await caches.delete(KEPT);
    throw error;
  }
  await currentSettings().catch(() => {}); // a page that needs them says so
}

/** A file of this very version. Throws where the server has another, or none. @param {string} url */
async function fetched(url) {
  const isHashed = url.startsWith(new URL("assets/", scope).href); // its name changes with its content
  const cache = isHashed && !url.startsWith(POLICED) ? "default" : "no-cache";
  const response = await fetch(url, { cache, integrity: hashes.get(url) });
  if (!response.ok) {
    throw new Error(`${url}: ${response.status}`);
  }
  if (!response.redirected) {
    return response;
  }
  const { body, headers } = response; // a host may send index.html to "/", and no page is opened from such an answer
  return new Response(body, { headers });
}

/**
 * From the cache; should the browser have dropped it there, from the network, if that still has this version.
 *
 * @param {string} url
 */
async function keptFile(url) {
  const kept = await caches.match(url, { cacheName: KEPT });
  return kept ?? keep(url);
}

/**
 * With the headers that the network has now; without a network, or where that has another version, as it was kept.
 *
 * @param {string} url
 */
async function currentFile(url) {
  try {
    return await keep(url);
  } catch {
    return keptFile(url);
  }
}

/**
 * From the network, and into the cache. None is made here: the next version may have removed it, while this one still
 * answers a page that is going away.
 *
 * @param {string} url
 */
async function keep(url) {
  const response = await fetched(url);
  if (await caches.has(KEPT)) {
    const cache = await caches.open(KEPT);
    await cache.put(url, response.clone()).catch(() => {});
  }
  return response;
}

async function currentSettings() {
  const cache = await caches.open(SETTINGS);
  try {
    const response = await fetch(settings, { cache: "no-cache" });
    if (!response.ok) {
      throw new Error(`${settings}: ${response.status}`);
    }
    await cache.put(settings, response.clone()).catch(() => {});
    return response;
  } catch (error) {
    const kept = await cache.match(settings);
    if (kept) {
      return kept;
    }
    throw error;
  }
}

async function removeOthers() {
  const names = await caches.keys();
  const others = names.filter((name) => name.startsWith(PREFIX) && name !== KEPT && name !== SETTINGS);
  await Promise.all(others.map((name) => caches.delete(name)));
}
