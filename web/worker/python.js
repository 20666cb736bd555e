// Pyodide with our package: from a memory snapshot that an earlier visit fetched, or from its files.
//
// A snapshot holds the memory after all imports and saves most of the start, but is as large as Pyodide itself. So it is
// fetched when there is nothing else to do, and used from the next visit on. The functions for it are Pyodide's own but
// not documented: whatever fails with it, Python starts from the files.

import { EMPTY_MODULE } from "../webassembly.js";
import { failure } from "./failure.js";

const CACHE = `shaderlm-snapshot ${new URL("./", import.meta.url).pathname}`; // an origin may hold several sites
const IDLE = 5000; // ms between looks at whether there is something to do

/**
 * @param {{ pyodide: string, packages: string[], snapshot: string | null }} assets relative to this file's URL
 * @returns {Promise<{ pyodide: object, from: "snapshot" | "files" }>} Throws NoWebAssembly, NetworkError, OutOfMemory.
 */
export async function startPython(assets) {
  await needWebAssembly();
  const indexURL = new URL(assets.pyodide, import.meta.url).href;
  const snapshot = await keptSnapshot(assets);
  let isBroken = false;
  if (snapshot) {
    try {
      return { pyodide: await started(indexURL, assets.packages, snapshot), from: "snapshot" };
    } catch (error) {
      console.warn(`The memory snapshot is of no use here, and Python starts from its files: ${error.message}`);
      isBroken = error.code !== "NetworkError";
    }
  }
  const pyodide = await fetched(indexURL, () => started(indexURL, assets.packages));
  if (isBroken) {
    await caches.delete(CACHE); // what it needs besides could be fetched
  }
  return { pyodide, from: "files" };
}

/** Pyodide with our packages. @param {Uint8Array} [snapshot] */
async function started(indexURL, packages, snapshot) {
  const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
  const options = snapshot ? { _loadSnapshot: snapshot } : { packages };
  const pyodide = await orRefused(() => loadPyodide({ indexURL, packageBaseUrl: indexURL, ...options }));
  if (snapshot) {
    await pyodide.loadPackage(packages, { messageCallback: () => {} }); // it holds modules, not the files beside them
  }
  const missing = packages.filter((name) => !(name in pyodide.loadedPackages)); // nothing is thrown for them
  if (missing.length) {
    throw failure("NetworkError", `${missing.join(", ")} did not arrive`);
  }
  return pyodide;
}

/** What `load` gives. Pyodide itself waits for ever where its WebAssembly can't be fetched. */
async function orRefused(load) {
  const { instantiateStreaming } = WebAssembly;
  try {
    const refused = new Promise((_, reject) => {
      WebAssembly.instantiateStreaming = (...given) => {
        const instance = instantiateStreaming(...given);
        instance.catch(reject);
        return instance;
      };
    });
    return await Promise.race([load(), refused]);
  } finally {
    WebAssembly.instantiateStreaming = instantiateStreaming;
  }
}

/** What `start` gives, whose files are static: where memory suffices, it fails because one of them did not come. */
async function fetched(indexURL, start) {
  try {
    return await start();
  } catch (error) {
    if (error instanceof RangeError) {
      const message = `This browser has no memory for Python: ${error.message}. Close other tabs, and try again.`;
      throw failure("OutOfMemory", message);
    }
    const message = `Python could not be fetched from ${indexURL}: ${error?.message ?? error}.`;
    throw failure("NetworkError", `${message} Check the connection, and try again.`);
  }
}

async function needWebAssembly() {
  try {
    await WebAssembly.compile(EMPTY_MODULE);
  } catch (error) {
    throw failure(
      "NoWebAssembly",
      `This browser refuses WebAssembly here (${error.message}). A Content-Security-Policy needs 'wasm-unsafe-eval' in ` +
        "script-src; a browser's lockdown or strictest mode has to be left for this page.",
    );
  }
}

function snapshotUrl({ snapshot }) {
  return snapshot && new URL(snapshot, import.meta.url).href;
}

async function keptSnapshot(assets) {
  const url = snapshotUrl(assets);
  try {
    const kept = url && (await (await caches.open(CACHE)).match(url));
    return kept ? new Uint8Array(await kept.arrayBuffer()) : null;
  } catch {
    return null; // storage is refused
  }
}

/**
 * Fetch the snapshot for the next visit, some time from now, while there is nothing else to do. Nothing hangs on it.
 *
 * @param {() => boolean} isIdle
 */
export async function keepSnapshot(assets, isIdle) {
  const url = snapshotUrl(assets);
  if (!url || navigator.connection?.saveData) {
    return;
  }
  do {
    await new Promise((resolve) => setTimeout(resolve, IDLE));
  } while (!isIdle());
  try {
    const cache = await caches.open(CACHE);
    if (!(await cache.match(url))) {
      const stale = await cache.keys();
      await Promise.all(stale.map((request) => cache.delete(request)));
      await cache.add(url);
    }
  } catch {
    // offline, or storage is refused or full: the next start takes as long as this one
  }
}
