// Every word that the page says, in English. A translation is another module of this form.

import { bytes, count, duration, rate } from "./format.js";

export const texts = {
  settings: "Settings",
  newChat: "New chat",
  models: (name) => `Model: ${name}. Choose another`,

  startTitle: "A language model in your browser",
  startLead:
    "It runs on this device's GPU. What you write stays here: after the model is fetched, nothing is sent anywhere.",
  chooseTitle: "Choose a model",
  storedTitle: "Kept on this device",
  otherTitle: "Another model",
  urlLabel: "Address of a GGUF file",
  urlHint: "https://…/model.gguf",
  load: "Load",
  openFile: "Open a file…",
  keepFile: "Keep a copy for the next visit",
  dropHint: "Or drop a .gguf file anywhere on this page, or all files of a model that lies in several.",
  fileHint: "It is read here, and not uploaded.",
  dropNow: "Drop the model's file, or all of them, to load it",
  backToChat: "Back to the chat",

  // What this browser can run
  checking: "Looking for this device's GPU…",
  ready: (adapter) => `Ready: ${adapter}`,
  unnamedAdapter: "a GPU that does not tell its name",
  software: "This is a software adapter: models run on the CPU, slowly.",
  details: "Details",
  facts: {
    buffer: "Largest buffer",
    binding: "Largest part of one that a shader sees",
    features: "Features",
    none: "none of the optional ones",
  },
  unsupported: "This browser cannot run models yet",
  reasons: {
    insecure: "Browsers offer WebGPU only to pages that come over https, or from this machine (http://localhost).",
    noWebGpu: "It offers no WebGPU, through which models reach the GPU.",
    noAdapter: "It has WebGPU, but finds no graphics adapter to use it with.",
    noWebAssembly: "It does not let this page run WebAssembly, which the model's program needs.",
    noWorker: "It does not let this page start workers.",
  },
  advice: {
    insecure: "Open this page by its https address, or on the machine that serves it by http://localhost.",
    noWebAssembly:
      "A security mode may forbid it: Safari's and iOS's Lockdown Mode, Edge's enhanced security, or a company's " +
      "policy. Make an exception for this site.",
    firefox:
      "Firefox has WebGPU on Windows from version 141 and on Macs with Apple silicon from 145; update it. On other " +
      "systems, open about:config, set dom.webgpu.enabled to true (and gfx.webgpu.ignore-blocklist, if it then finds no " +
      "adapter), and start Firefox again.",
    safari: "Safari has WebGPU from version 26 (macOS 26, iOS 26). Update the system.",
    chromiumLinux:
      "Update Chrome or Edge. On Linux, also open chrome://flags/#enable-unsafe-webgpu, enable it and start again; " +
      "chrome://gpu tells what is missing.",
    android: "Update Chrome and Android: it needs Chrome 121 and Android 12 or newer.",
    chromium:
      "Update the browser, and see that “Use graphics acceleration when available” is on in its settings under " +
      "System; chrome://gpu tells what is missing.",
    other: "Use a current Chrome, Edge, Firefox or Safari, and update the graphics driver.",
  },
  checkAgain: "Check again",

  // Models to choose from
  start: (size) => (size ? `Download and start (${bytes(size)})` : "Download and start"),
  startStored: "Start",
  resume: (size) => (size ? `Resume (${bytes(size)} to go)` : "Resume"),
  modelFacts: ({ size, licence }) => [size && bytes(size), licence].filter(Boolean).join(" · "),
  storedFacts: ({ stored, size, complete }) =>
    complete ? bytes(stored) : `${bytes(stored)}${size ? ` of ${bytes(size)}` : ""}, not whole yet`,
  delete: "Delete",
  deleteLabel: (name) => `Delete ${name} from this device`,
  deleteSure: (size) => `Really delete ${bytes(size)}?`,
  deleted: (name, size) => `${name} is deleted: ${bytes(size)} are free again.`,
  inUse: "in use",
  noCatalogue: "This site names no model. Give an address or a file below.",
  noSite: "The site's settings (site.json) cannot be read, so it names no model. Give an address or a file below.",
  badUrl: "This is not the address of a file: it begins with https:// and ends with .gguf.",
  notAllowed: (origin, origins) =>
    `This site does not load models from ${origin}. It allows ${origins.length ? origins.join(", ") : "its own only"}; ` +
    "whoever runs it can add more in site.json. Or download the file and open it here.",
  notGguf: (name) => `${name} is no model file: its name should end with .gguf.`,

  // While a model is loaded
  loadingTitle: (name) => `Loading ${name}`,
  pausedTitle: (name) => `${name}: paused`,
  failedTitle: (name) => `${name} could not be loaded`,
  download: "Model",
  shaders: "Shaders",
  pause: "Pause",
  cancel: "Cancel",
  goOn: "Resume",
  again: "Try again",
  waiting: "waiting",
  starting: "starting",
  /** @param {{ done: number, total: number, from?: string, speed?: number | null, left?: number | null }} amount */
  downloadFacts: ({ done, total, from = "network", speed = null, left = null }) => {
    const amount = total ? `${bytes(done)} of ${bytes(total)}` : bytes(done);
    const source = { cache: "from this device", file: "from the file", network: "" }[from];
    const parts = [amount, source, speed && `${bytes(speed)}/s`, left !== null && `${duration(left)} left`];
    return parts.filter(Boolean).join(" · ");
  },
  compileFacts: (done, total) => `${count(done)} of ${count(total)}`,
  loaded: (name) => `${name} is ready.`,
  forget: "Close",

  // The chat
  chatTitle: "Chat",
  emptyChat: "Say something to begin.",
  promptLabel: "Your message",
  promptHint: "Write a message",
  send: "Send",
  stop: "Stop",
  you: "You",
  model: "Model",
  reading: (done, total) => `Reading the conversation: ${Math.floor((100 * done) / Math.max(1, total))} %`,
  thinking: "Thinking…",
  reasoning: "How it came to this",
  regenerate: "Regenerate",
  copy: "Copy",
  copied: "Copied",
  reload: "Load the model again",
  stats: ({ usage, timings, finish_reason }) => {
    const parts = [
      `${count(usage.completion_tokens)} ${usage.completion_tokens === 1 ? "token" : "tokens"}`,
      timings.decode_tokens_per_second > 0 && `${rate(timings.decode_tokens_per_second)} tokens/s`,
      usage.completion_tokens > 0 && `first after ${duration(timings.time_to_first_token)}`,
      { length: "ended at its limit", cancelled: "stopped" }[finish_reason],
    ];
    return parts.filter(Boolean).map((part) => part.replaceAll(" ", "\u00a0")).join(" · "); // breaks between parts
  },

  // Settings
  systemLabel: "System prompt: what the model is told before the chat",
  systemHint: "You are a helpful assistant.",
  reset: "Reset",
  done: "Done",
  options: {
    temperature: ["Temperature", "0: always the likeliest word; higher: more varied"],
    top_p: ["Top p", "only the likeliest words that make up this share; 1: off"],
    top_k: ["Top k", "only this many likeliest words; 0: off"],
    min_p: ["Min p", "no words below this share of the likeliest; 0: off"],
    repeat_penalty: ["Repeat penalty", "against repetition; 1: off"],
    max_tokens: ["Longest answer", "in tokens"],
    seed: ["Seed", "the same one gives the same answer again"],
  },
  unlimited: "no limit",
  random: "random",
  outside: (low, high) => `from ${count(low)} to ${count(high)}`,

  // What goes wrong: a title by the error's code
  errors: {
    NetworkError: "The download broke off",
    ModelNotFound: "There is no such model",
    AccessDenied: "The server does not give this model away",
    ChecksumMismatch: "The file is not the one that was published",
    InvalidFile: "This is not a model file",
    TruncatedFile: "The file is not whole",
    TensorOutOfFile: "The file is not whole",
    UnknownArchitecture: "This kind of model is not known here",
    UnknownWeightType: "This kind of weights is not known here",
    NoAdapter: "No GPU can be used",
    UnsuitableAdapter: "This GPU cannot run the model",
    ModelTooLarge: "The model is too large for this device",
    OutOfMemory: "The GPU's memory is full",
    DeviceLost: "The GPU went away",
    NoWebAssembly: "This browser refuses WebAssembly",
    NoSpace: "There is no space left to keep the model",
    ContextFull: "The conversation is as long as this model can read",
    PromptTooLong: "The conversation is longer than this model can read",
    TemplateError: "The model cannot take part in this chat",
    InternalError: "Something went wrong inside",
  },
  errorTitle: "That did not work",
  dismiss: "Dismiss",

  // New versions of the page
  update: "A new version of this page is here.",
  updateNow: "Use it now",
  replaced: "Another tab has taken a new version of this page. Load this one again when it suits you.",
};

/** Put the words into the elements that name them. */
export function fill(root) {
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = texts[element.dataset.text];
  }
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", texts[element.dataset.label]);
  }
  for (const element of root.querySelectorAll("[data-hint]")) {
    element.setAttribute("placeholder", texts[element.dataset.hint]);
  }
}
