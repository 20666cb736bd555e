// The models that the reader can choose from: the site's catalogue, what is kept here, an address, a file.

import { nameOf } from "../addresses.js";
import { deleteModel, listModels } from "../shaderlm.js";
import { button, element, find, show } from "./dom.js";
import { modelsOf } from "./kept_models.js";
import { addressOf, isAllowed } from "./site.js";
import { texts } from "./texts.js";

export class Picker {
  #site;
  #choose;
  #say;
  /** @type {import("./kept_models.js").KeptModel[]} */
  #stored = [];
  /** @type {string | null} the address of the loaded model */
  #used = null;

  /**
   * @param {import("./site.js").Site} site
   * @param {(source: import("./loading.js").Source) => void} choose
   * @param {(text: string) => void} say for screen readers
   */
  constructor(site, choose, say) {
    this.#site = site;
    this.#choose = choose;
    this.#say = say;
    find("by-url").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#chooseUrl(find("url").value);
    });
    find("file").addEventListener("change", () => {
      this.chooseFiles([...(find("file").files ?? [])]);
      find("file").value = ""; // so that the same file can be chosen again
    });
    this.#acceptDrops();
    this.#draw();
  }

  /** See anew what is kept. `used`: the address of the model that is loaded. */
  async refresh(used = this.#used) {
    this.#used = used;
    this.#stored = modelsOf(await listModels().catch(() => []));
    this.#draw();
  }

  /** What is known of a model by its address. @param {string} url @returns {import("./loading.js").Source} */
  sourceOf(url) {
    const entry = this.#site.catalogue.find((known) => known.url === url);
    const kept = this.#stored.find((model) => model.url === url);
    return { name: entry?.title ?? nameOf(url), url, place: kept?.place ?? url, expected: entry?.expected };
  }

  /** Whether a model is kept whole. @param {string} url */
  isKept(url) {
    return this.#stored.some((row) => row.url === url && row.complete);
  }

  /** All files of a model. @param {File[]} files */
  chooseFiles(files) {
    const names = files.map(({ name }) => name).sort();
    const other = names.find((name) => !/\.gguf$/i.test(name));
    find("url-problem").textContent = other === undefined ? "" : texts.notGguf(other);
    if (other === undefined && files.length) {
      this.#choose({ name: names[0], place: files, store: find("keep-file").checked });
    }
  }

  #chooseUrl(text) {
    const url = addressOf(text);
    const allowed = url && isAllowed(url, this.#site.origins);
    const complaint = !url ? texts.badUrl : allowed ? "" : texts.notAllowed(url.origin, this.#site.origins);
    find("url-problem").textContent = complaint;
    find("url").setAttribute("aria-invalid", String(Boolean(complaint)));
    if (url && allowed) {
      this.#choose(this.sourceOf(url.href));
    } else {
      find("url").focus();
    }
  }

  #draw() {
    const { catalogue, broken } = this.#site;
    const rows = catalogue.map((entry, index) => this.#catalogueRow(entry, index === 0));
    const none = element("li", { className: "muted", textContent: broken ? texts.noSite : texts.noCatalogue });
    find("catalogue").replaceChildren(...(rows.length ? rows : [none]));
    find("stored").replaceChildren(...this.#stored.map((row) => this.#storedRow(row)));
    show(find("stored-part"), this.#stored.length > 0);
  }

  #catalogueRow(entry, isFirst) {
    const stored = this.#stored.find(({ url }) => url === entry.url);
    const text = stored ? this.#startText(stored) : texts.start(entry.size);
    const start = button(text, () => this.#choose(this.sourceOf(entry.url)), { className: isFirst ? "primary" : "" });
    const used = element("span", { className: "muted", textContent: texts.inUse });
    return row(entry.title, texts.modelFacts(entry), entry.url === this.#used ? used : start);
  }

  #startText({ complete, size, stored }) {
    return complete ? texts.startStored : texts.resume(size ? size - stored : 0);
  }

  /** @param {import("./kept_models.js").KeptModel} stored */
  #storedRow(stored) {
    const { name } = this.sourceOf(stored.url);
    const isUsed = stored.url === this.#used;
    const facts = [texts.storedFacts(stored), isUsed && texts.inUse].filter(Boolean).join(" · ");
    const isOffered = isUsed || this.#site.catalogue.some(({ url }) => url === stored.url); // above
    const start = !isOffered && button(this.#startText(stored), () => this.#choose(this.sourceOf(stored.url)));
    return row(name, facts, ...[start, this.#deleting(stored, name)].filter(Boolean));
  }

  // A first click asks, a second one deletes; leaving the button takes the question back.
  /** @param {import("./kept_models.js").KeptModel} model @param {string} name */
  #deleting(model, name) {
    const label = texts.deleteLabel(name);
    const ask = button(texts.delete, () => this.#delete(ask, model, name), { className: "quiet", "aria-label": label });
    ask.addEventListener("blur", () => {
      delete ask.dataset.sure;
      ask.textContent = texts.delete;
      ask.setAttribute("aria-label", label);
    });
    return ask;
  }

  /** @param {HTMLButtonElement} ask @param {import("./kept_models.js").KeptModel} model @param {string} name */
  async #delete(ask, { urls, stored }, name) {
    if (!ask.dataset.sure) {
      ask.dataset.sure = "asked";
      ask.textContent = texts.deleteSure(stored);
      ask.removeAttribute("aria-label");
      return;
    }
    await Promise.all(urls.map((url) => deleteModel(url)));
    this.#say(texts.deleted(name, stored));
    await this.refresh();
    find("start-title").focus();
  }

  #acceptDrops() {
    const isFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    addEventListener("dragover", (event) => {
      if (isFile(event)) {
        event.preventDefault();
        show(find("drop"));
      }
    });
    addEventListener("dragleave", ({ relatedTarget }) => relatedTarget === null && show(find("drop"), false));
    addEventListener("drop", (event) => {
      show(find("drop"), false);
      if (isFile(event)) {
        event.preventDefault();
        this.chooseFiles([...(event.dataTransfer?.files ?? [])]);
      }
    });
  }
}

function row(title, facts, ...buttons) {
  const about = element("div", { className: "about" }, element("strong", { textContent: title }));
  about.append(element("span", { className: "muted", textContent: facts }));
  return element("li", {}, about, element("div", { className: "row" }, ...buttons));
}
