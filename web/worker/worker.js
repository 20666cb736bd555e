// The module worker: boots Pyodide, gives it the browser's side of the host, and passes messages between the page and
// web/worker.py. { id, call, ... } comes in; { id, event, ... } goes out while a call lasts, then { id, result } or
// { id, error: { code, message } }.

import { openCodec } from "./codec.js";
import * as files from "./files.js";
import { coded, openGpu } from "./gpu.js";

/* global SHADERLM_ASSETS */
const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);
const started = start();
started.catch(() => {}); // told to each call
globalThis.shaderlm = { ready: started }; // for the console

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

/** Resolves to the Python desk of web/worker.py. Throws NoWebAssembly. */
async function start() {
  await needWebAssembly();
  const build = SHADERLM_ASSETS.pyodide;
  const indexURL = new URL(build, import.meta.url).href;
  const { loadPyodide } = await import(/* @vite-ignore */ `${indexURL}pyodide.mjs`);
  const pyodide = await loadPyodide({ indexURL, packageBaseUrl: indexURL, packages: SHADERLM_ASSETS.packages });
  const onPipelines = (done, total) => postMessage({ event: "progress", stage: "compile", done, total });
  const onLost = (message) => postMessage({ event: "notice", code: "DeviceLost", message });
  const open = async () => (globalThis.shaderlm.gpu = await openGpu(onPipelines, onLost));
  globalThis.shaderlm.pyodide = pyodide;
  pyodide.registerJsModule("shaderlm_browser", { openGpu: open, openCodec, files, openModel: files.openModel, build });
  return pyodide.pyimport("shaderlm.web.worker").desk;
}

const signals = new Map(); // calls under way that can be given up before Python knows of them

addEventListener("message", async ({ data: { id, call, source, expected, file_options = {}, ...given } }) => {
  const post = (kind, text) => {
    const content = JSON.parse(text);
    postMessage(kind === "result" || kind === "error" ? { id, [kind]: content } : { id, event: kind, ...content });
  };
  if (call === "cancel") {
    signals.get(given.target)?.abort();
    (await started).cancel(given.target);
    return;
  }
  const controller = new AbortController();
  signals.set(id, controller);
  try {
    const desk = await started;
    const openFile = (name) =>
      files.openModel(source instanceof Blob ? source : name, {
        ...file_options,
        expected,
        signal: controller.signal,
        onProgress: (progress) => postMessage({ id, event: "progress", stage: "download", ...progress }),
        onNotice: (notice) => postMessage({ id, event: "notice", ...notice }),
      });
    const name = source instanceof Blob ? { source: source.name } : source ? { source } : {};
    await desk.receive(id, call, JSON.stringify({ ...given, ...name }), openFile, post);
  } catch (error) {
    post("error", JSON.stringify({ code: error.code ?? "InternalError", message: error.message }));
  } finally {
    signals.delete(id);
  }
});
