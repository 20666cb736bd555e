// shaderlm for Python in a page or worker of your own: a notebook, or a program that is written in Python.
//
//   import { startPython } from "./python-host.js";
//   const pyodide = await startPython();
//   await pyodide.runPythonAsync("import shaderlm; model = await shaderlm.load_async(\"model.gguf\")");

import { moduleForPython } from "./worker/for_python.js";

/**
 * @typedef {object} HostOptions
 * @property {string | URL} [baseUrl] the folder that holds `assets/`, if not this file's
 * @property {(compiled: number, asked: number) => void} [onPipelines] told of kernels compiled and asked for
 * @property {(message: string) => void} [onLost] told when the GPU went away; answers go on on another device
 */

/**
 * The site's own Pyodide, with shaderlm to be imported.
 *
 * @param {HostOptions & { pyodide?: object }} [options] pyodide: what its loadPyodide takes besides, such as `stdout`
 * @returns {Promise<any>} Pyodide's API
 */
export async function startPython({ pyodide: given, ...options } = {}) {
  const indexURL = folderOf(options);
  const { loadPyodide } = await import(/* @vite-ignore */ `${indexURL}pyodide.mjs`);
  const pyodide = await loadPyodide({ indexURL, packageBaseUrl: indexURL, ...given });
  await addShaderLM(pyodide, options);
  return pyodide;
}

/**
 * Put shaderlm into a Pyodide that is there already. It must have the site's version of Python, since that is what the
 * package is compiled for.
 *
 * @param {any} pyodide its API; from Python, the module `pyodide_js`
 * @param {HostOptions} [options]
 * @returns {Promise<void>}
 */
export async function addShaderLM(pyodide, options = {}) {
  const folder = folderOf(options);
  const { packages } = await (await fetch(`${folder}pyodide-lock.json`)).json();
  const python = pyodide.runPython("import sys; f'cp{sys.version_info[0]}{sys.version_info[1]}'");
  const file = packages.shaderlm.file_name;
  if (!file.includes(`-${python}-`)) {
    throw new Error(`${file} is not for this Pyodide, whose Python is ${python}. Use startPython() of python-host.js.`);
  }
  const wanted = SHADERLM_ASSETS.packages.filter((name) => !(name in pyodide.loadedPackages));
  await pyodide.loadPackage(wanted.map((name) => folder + packages[name].file_name), { messageCallback: () => {} });
  const missing = wanted.filter((name) => !(name in pyodide.loadedPackages)); // nothing is thrown for them
  if (missing.length) {
    throw new Error(`Pyodide could not load ${missing.join(", ")} from ${folder}; its console tells why.`);
  }
  pyodide.registerJsModule("shaderlm_browser", moduleForPython(SHADERLM_ASSETS.pyodide, options));
}

/** @param {HostOptions} options */
function folderOf({ baseUrl }) {
  const base = new URL(baseUrl ?? "./", baseUrl ? globalThis.location?.href : import.meta.url);
  return new URL(`assets/${SHADERLM_ASSETS.pyodide}`, base).href;
}
