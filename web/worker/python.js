// Pyodide with our package: from a memory snapshot that an earlier visit fetched, or from its files.
//
// A snapshot holds the memory after all imports and saves most of the start, but is as large as Pyodide itself. So it is
// fetched when there is nothing else to do, and used from the next visit on. The functions for it are Pyodide's own but
// not documented: whatever fails with it, Python starts from the files.

import { coded } from "./gpu.js";

const CACHE = "shaderlm-snapshot";
const IDLE = 5000; // ms after a model was loaded
const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/**
 * @param {{ pyodide: string, packages: string[], snapshot: string | null }} assets relative to this file's URL
 * @returns {Promise<{ pyodide: object, from: "snapshot" | "files" }>} Throws NoWebAssembly.
 */
export async function startPython(assets) {
  await needWebAssembly();
  const indexURL = new URL(assets.pyodide, import.meta.url).href;
  const { loadPyodide } = await import(`${indexURL}pyodide.mjs`);
  const options = { indexURL, packageBaseUrl: indexURL };
  const snapshot = await keptSnapshot(assets);
  if (snapshot) {
    try {
      const pyodide = await loadPyodide({ ...options, _loadSnapshot: snapshot });
      await unpack(pyodide, assets.packages); // the snapshot holds modules, not the files that lie beside them
      return { pyodide, from: "snapshot" };
    } catch (error) {
      console.warn(`The memory snapshot is of no use here, and Python starts from its files: ${error.message}`);
      await caches.delete(CACHE);
    }
  }
  return { pyodide: await loadPyodide({ ...options, packages: assets.packages }), from: "files" };
}

async function unpack(pyodide, packages) {
  const loaded = await pyodide.loadPackage(packages, { messageCallback: () => {} });
  if (loaded.length < packages.length) {
    throw new Error(`only ${loaded.map(({ name }) => name).join(", ") || "none"} of its packages could be unpacked`);
  }
}

async function needWebAssembly() {
  try {
    await WebAssembly.compile(EMPTY_MODULE);
  } catch (error) {
    throw coded(
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

/** Fetch the snapshot for the next visit, some time after a model was loaded. Nothing hangs on it. */
export async function keepSnapshot(assets) {
  const url = snapshotUrl(assets);
  if (!url || navigator.connection?.saveData) {
    return;
  }
  await new Promise((resolve) => setTimeout(resolve, IDLE));
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
