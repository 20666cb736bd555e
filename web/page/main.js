// The page: what the browser can run, a model that the reader chooses, a chat with it. Everything heavy is in a worker,
// which starts when the page has been drawn.

import { load, prepare } from "../shaderlm.js";
import { Chat } from "./chat.js";
import { find, show } from "./dom.js";
import { forget, keep, recall } from "./kept.js";
import { Loading } from "./loading.js";
import { workOffline } from "./offline.js";
import { Picker } from "./picker.js";
import { notice } from "./problem.js";
import { Settings } from "./settings.js";
import { readSite } from "./site.js";
import { Speaker } from "./speaker.js";
import { inspectBrowser, showSupport } from "./support.js";
import { fill, texts } from "./texts.js";

/** @typedef {import("./loading.js").Source} Source */
/** @typedef {import("../shaderlm.js").Model} Model */

const FINE_POINTER = matchMedia("(pointer: fine)"); // where focus calls no keyboard onto the screen

/** @type {any} the loaded Model; null before there is one, when nothing asks for it */
let model = null;
/** @type {any} its Source */
let source = null;
/** @type {Picker} made once site.json is read */
let picker;
/** @type {Promise<void> | undefined} that the model before takes no memory any more */
let freed;
const speaker = new Speaker();

fill(document);
const settings = new Settings();
const loading = new Loading({ load: loadFrom, onReady: ready, onEnd: givenUp });
const chat = new Chat({
  model: () => model,
  options: () => settings.options,
  system: () => settings.system,
  reload: () => start(source),
  onBusy: showBusy,
});
listen();
find("support").textContent = texts.checking;
afterPaint(begin);

async function begin() {
  const site = await readSite();
  brand(site);
  picker = new Picker(site, start, (text) => speaker.say(text));
  await check();
}

async function check() {
  const found = await inspectBrowser();
  showSupport(find("support"), found, check);
  show(find("choose"), !found.reason);
  if (found.reason) {
    return;
  }
  prepare();
  await picker.refresh();
  const last = recall("model");
  if (last && picker.isKept(last) && !recall("loading")) {
    start(picker.sourceOf(last));
  }
  workOffline();
}

/** Load a model, in place of the one that is loaded. @param {Source} chosen */
function start(chosen) {
  chat.stop();
  freed = model?.unload().catch(() => {}) ?? freed; // what is lost is free
  model = null;
  if (chosen.url) {
    keep("loading", chosen.url); // one that ends the tab is not begun again by itself
  }
  if (chosen.url || chosen.store) {
    navigator.storage?.persist?.().catch(() => {}); // models are not thrown away for want of space
  }
  show(find("to-models"), false); // both lead to a chat, or speak of a model, that is gone
  show(find("new-chat"), false);
  loading.start(chosen);
  showStart();
}

/** What `loading` calls. @param {Source} source @param {import("./loading.js").Watching} watching */
async function loadFrom({ place, expected, store }, { signal, onProgress }) {
  await freed; // two models may not fit side by side
  return load(place, { expected, store, signal, onProgress, onNotice: ({ message }) => notice(message) });
}

function givenUp() {
  forget("loading");
  picker.refresh(null);
  showStart();
}

/** @param {Model} loaded @param {Source} chosen */
function ready(loaded, chosen) {
  forget("loading");
  model = loaded;
  source = chosen;
  if (chosen.url) {
    keep("model", chosen.url);
  }
  loaded.warnings.forEach((warning) => notice(warning));
  find("model-name").textContent = chosen.name;
  find("to-models").setAttribute("aria-label", texts.models(chosen.name));
  speaker.say(texts.loaded(chosen.name));
  picker.refresh(chosen.url ?? null);
  showChat();
}

// Views

function showStart() {
  show(find("chat"), false);
  show(find("composer"), false);
  show(find("start"));
  show(find("choose"), !loading.isUnderWay);
  show(find("return"), model !== null && !loading.isUnderWay);
}

function showChat() {
  show(find("start"), false);
  show(find("chat"));
  show(find("composer"));
  show(find("to-models"));
  show(find("new-chat"));
  fitPrompt();
  if (FINE_POINTER.matches) {
    find("prompt").focus();
  }
}

/** @param {boolean} isBusy */
function showBusy(isBusy) {
  const hadFocus = [find("send"), find("stop")].some((button) => button === document.activeElement);
  show(find("send"), !isBusy);
  show(find("stop"), isBusy);
  if (hadFocus && FINE_POINTER.matches) {
    (isBusy ? find("stop") : find("prompt")).focus();
  }
}

/** @param {import("./site.js").Site} site */
function brand({ title, logo, notice: words }) {
  document.title = title;
  find("brand").textContent = title;
  find("site-notice").textContent = words;
  show(find("site-notice"), Boolean(words));
  if (logo) {
    find("logo").src = logo;
    show(find("logo"));
  }
}

// What the reader does

function listen() {
  const prompt = find("prompt");
  find("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  prompt.addEventListener("input", fitPrompt);
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    }
  });
  find("stop").addEventListener("click", () => chat.stop());
  addEventListener("keydown", (event) => event.key === "Escape" && !find("settings").open && chat.stop());
  find("to-models").addEventListener("click", () => {
    showStart();
    picker.refresh();
    find("main").focus();
  });
  find("back").addEventListener("click", showChat);
  find("new-chat").addEventListener("click", () => {
    chat.clear();
    showChat();
  });
}

function send() {
  const text = find("prompt").value.trim();
  if (text && !chat.isBusy && model) {
    find("prompt").value = "";
    fitPrompt();
    chat.send(text);
  }
}

/** The field is as high as its text; style.css says how high at most. */
function fitPrompt() {
  const prompt = find("prompt");
  prompt.rows = 1;
  const line = parseFloat(getComputedStyle(prompt).lineHeight);
  prompt.rows = Math.min(8, Math.max(1, Math.floor(prompt.scrollHeight / line)));
}

/** @param {() => void} action */
function afterPaint(action) {
  requestAnimationFrame(() => setTimeout(action));
}
