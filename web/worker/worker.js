// The module worker: boots Pyodide, gives it the browser's side of the host, and passes messages between the page and
// web/worker.py. { id, call, ... } comes in; { id, event, ... } goes out while a call lasts, then { id, result } or
// { id, error: { code, message } }. { event: "unstarted" } tells that Python did not start, and never will here.

import * as files from "./files.js";
import { moduleForPython } from "./for_python.js";
import { keepSnapshot, startPython } from "./python.js";
import { nameOf } from "../addresses.js";
import { partOf } from "../parts.js";

/* global SHADERLM_ASSETS */
const started = start();
started.catch(() => postMessage({ event: "unstarted" })); // why is told to each call
globalThis.shaderlm = { ready: started }; // for the console

/** Resolves to the Python desk of web/worker.py. Throws NoWebAssembly, NetworkError. */
async function start() {
  const { pyodide, from } = await startPython(SHADERLM_ASSETS);
  const onPipelines = (done, total) => postMessage({ event: "progress", stage: "compile", done, total });
  const onLost = (message) => postMessage({ event: "notice", code: "DeviceLost", message });
  const onGpu = (gpu) => (globalThis.shaderlm.gpu = gpu);
  Object.assign(globalThis.shaderlm, { pyodide, from });
  const told = { onPipelines, onLost, onGpu };
  pyodide.registerJsModule("shaderlm_browser", moduleForPython(SHADERLM_ASSETS.pyodide, told));
  return pyodide.pyimport("shaderlm.web.worker").desk;
}

// Calls that need no Python.
const OF_FILES = { list_models: () => files.listModels(), delete_model: ({ url }) => files.deleteModel(url) };

/** @type {Map<number, AbortController>} of calls under way, which can be given up before Python knows of them */
const signals = new Map();

addEventListener("message", ({ data }) => (data.call === "cancel" ? cancel(data.target) : receive(data)));

async function receive({ id, call, source, expected, file_options = {}, ...given }) {
  const post = (kind, text) => {
    const content = JSON.parse(text);
    postMessage(kind === "result" || kind === "error" ? { id, [kind]: content } : { id, event: kind, ...content });
  };
  const controller = new AbortController();
  signals.set(id, controller);
  try {
    if (OF_FILES[call]) {
      postMessage({ id, result: await OF_FILES[call](given) });
      return;
    }
    const desk = await started;
    /** @param {string | File} place one of the model's files */
    const expectedOf = (place) => [expected].flat()[(partOf(fileName(place))?.number ?? 1) - 1];
    /** @param {string | File} place */
    const openFile = (place) =>
      files.openModel(place, {
        ...file_options,
        expected: expectedOf(place),
        signal: controller.signal,
        onProgress: (progress) => postMessage({ id, event: "progress", stage: "download", file: fileName(place), ...progress }),
        onNotice: (notice) => postMessage({ id, event: "notice", ...notice }),
      });
    await desk.receive(id, call, JSON.stringify(given), source, openFile, post);
    if (call === "load") {
      keepSnapshot(SHADERLM_ASSETS, () => signals.size === 0);
    }
  } catch (error) {
    post("error", JSON.stringify({ code: error.code ?? "InternalError", message: error.message }));
  } finally {
    signals.delete(id);
  }
}

/** @param {string | File} place */
function fileName(place) {
  return typeof place === "string" ? nameOf(place) : place.name;
}

/** @param {number} id of a call */
function cancel(id) {
  const controller = signals.get(id);
  if (controller) {
    controller.abort();
    started.then(
      (desk) => desk.cancel(id),
      () => {}, // told to the call itself
    );
  }
}
