// What this browser can run, asked of the browser itself; its name matters only to the advice that is given.

import { EMPTY_MODULE } from "../webassembly.js";
import { WANTED_FEATURES, bestAdapter } from "../worker/adapter.js";
import { button, element } from "./dom.js";
import { bytes } from "./format.js";
import { texts } from "./texts.js";

export const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render/i; // as runtime/hosts/browser/gpu.py has it

/** { adapter, facts } where models can run, else { reason }: a key of texts.reasons. */
export async function inspectBrowser() {
  if (!globalThis.isSecureContext) {
    return { reason: "insecure" };
  }
  if (!globalThis.Worker) {
    return { reason: "noWorker" };
  }
  if (!runsWebAssembly()) {
    return { reason: "noWebAssembly" };
  }
  if (!navigator.gpu) {
    return { reason: "noWebGpu" };
  }
  const adapter = await bestAdapter();
  return adapter ? factsOf(adapter) : { reason: "noAdapter" };
}

function runsWebAssembly() {
  try {
    return Boolean(new WebAssembly.Module(EMPTY_MODULE));
  } catch {
    return false;
  }
}

function factsOf(adapter) {
  const info = adapter.info ?? {};
  const named = info.description || [info.vendor, info.device || info.architecture].filter(Boolean).join(" ");
  return {
    adapter: named || texts.unnamedAdapter,
    isSoftware: Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter) || SOFTWARE.test(named),
    buffer: adapter.limits.maxBufferSize,
    binding: adapter.limits.maxStorageBufferBindingSize,
    features: WANTED_FEATURES.filter((name) => adapter.features.has(name)),
  };
}

/** What to do about a reason in this browser. */
export function adviceFor(reason, { userAgent, maxTouchPoints = 0 } = navigator) {
  const { advice } = texts;
  if (advice[reason]) {
    return advice[reason];
  }
  if (/Firefox\//.test(userAgent)) {
    return advice.firefox;
  }
  if (/Android/.test(userAgent)) {
    return advice.android;
  }
  if (/Chrome\//.test(userAgent)) {
    return /Linux|X11/.test(userAgent) ? advice.chromiumLinux : advice.chromium;
  }
  if (/iPhone|iPad/.test(userAgent) || /Safari\//.test(userAgent) || (maxTouchPoints > 1 && /Mac/.test(userAgent))) {
    return advice.safari;
  }
  return advice.other;
}

/** Show what was found; `again` checks anew. */
export function showSupport(card, found, again) {
  card.classList.toggle("warning", Boolean(found.reason));
  card.replaceChildren(...(found.reason ? refusal(found.reason, again) : welcome(found)));
}

function refusal(reason, again) {
  return [
    element("h2", { textContent: texts.unsupported }),
    element("p", { textContent: texts.reasons[reason] }),
    element("p", { textContent: adviceFor(reason) }),
    element("p", { className: "row" }, button(texts.checkAgain, again)),
  ];
}

function welcome({ adapter, isSoftware, buffer, binding, features }) {
  const rows = [
    [texts.facts.buffer, bytes(buffer)],
    [texts.facts.binding, bytes(binding)],
    [texts.facts.features, features.join(", ") || texts.facts.none],
  ].flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]);
  return [
    element("p", { className: "ready", textContent: texts.ready(adapter) }),
    isSoftware && element("p", { className: "muted", textContent: texts.software }),
    element("details", {}, element("summary", { textContent: texts.details }), element("dl", {}, ...rows)),
  ].filter(Boolean);
}
