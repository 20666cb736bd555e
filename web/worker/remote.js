// A file on a server: requests for its bytes, and what the answers say.

import { nameOf } from "../addresses.js";
import { cancelled, failure } from "./failure.js";
import { pieces } from "./pieces.js";

const SILENCE = 60_000; // ms without a byte, after which a connection counts as dropped
const PASSING = [408, 425, 429]; // and 500 on: statuses that another try may not meet
const WEB_PAGE = /^(text\/html|application\/xhtml)/;

/**
 * What is known of a file on a server. null: the server, or CORS, does not tell.
 *
 * @typedef {object} Facts
 * @property {number | null} size
 * @property {string | null} etag
 * @property {string | null} lastModified
 */

/**
 * @typedef {object} Answer
 * @property {Facts} facts
 * @property {number} start where in the file the body begins; -1: nowhere, the file has shrunk
 * @property {boolean} changed whether this is another file than the one that was known
 * @property {() => AsyncGenerator<Uint8Array>} body its bytes in pieces, each valid until the next is asked for
 * @property {() => void} drop give the connection up
 */

export class Remote {
  #fetch;
  #signal;

  /**
   * @param {string} url
   * @param {object} options
   * @param {typeof globalThis.fetch} options.fetch
   * @param {AbortSignal} options.signal
   * @param {Facts} [options.known] what later answers are held against
   */
  constructor(url, { fetch, signal, known }) {
    this.url = url;
    this.name = nameOf(url);
    this.known = known;
    this.#fetch = (address, how) => fetch(address, how); // which is not to be called as a method
    this.#signal = signal;
    this.conditional = new URL(url).origin === globalThis.location?.origin; // CORS wants to be asked about If-Range
  }

  /**
   * Ask for the bytes [start, end). A server without Range answers with the whole file, another one than the file that
   * is known perhaps too.
   *
   * @param {number} start
   * @param {number | null} end null: to the end
   * @returns {Promise<Answer>}
   */
  async ask(start, end) {
    const isRange = start > 0 || (end !== null && end !== this.known?.size);
    const validator = isRange && this.conditional ? validatorOf(this.known) : undefined;
    const headers = {
      ...(isRange && { Range: `bytes=${start}-${end === null || end === this.known?.size ? "" : end - 1}` }),
      ...(validator && { "If-Range": validator }),
    };
    const attempt = new Attempt(this.#signal);
    try {
      const response = await attempt.wait(() => this.#send({ headers, signal: attempt.signal }));
      this.#check(response, start);
      const answer = { ...this.#read(response, start), drop: () => attempt.stop() };
      return { ...answer, body: () => this.#pieces(response.body, attempt) };
    } catch (error) {
      attempt.stop();
      throw this.#signal.aborted ? cancelled(`The download of ${this.name}`) : error;
    }
  }

  /** Whether the server has another file by now. @returns {Promise<boolean>} */
  async hasChanged() {
    const attempt = new Attempt(this.#signal);
    try {
      const response = await attempt.wait(() => this.#send({ method: "HEAD", signal: attempt.signal }));
      this.#check(response, 0);
      return this.#read(response, 0).changed;
    } catch (error) {
      throw this.#signal.aborted ? cancelled(`The download of ${this.name}`) : error;
    } finally {
      attempt.stop();
    }
  }

  async #send(options) {
    try {
      return await this.#fetch(this.url, { cache: "no-store", ...options });
    } catch (error) {
      this.conditional = false; // should that be what a server elsewhere, which this one leads to, refuses
      throw failure(
        "NetworkError",
        `No answer from ${this.url} (${error?.message ?? error}). Either there is no connection, or the server does ` +
          "not let this page read the file (CORS: Access-Control-Allow-Origin), or this page's own " +
          "Content-Security-Policy does not list the server in connect-src.",
        { again: true },
      );
    }
  }

  #check(response, start) {
    const { status } = response;
    const where = `${this.url} answers ${status}`;
    if (status === 404 || status === 410) {
      throw failure("ModelNotFound", `${where}: there is no such file. Check the address.`);
    }
    if (status === 401 || status === 403) {
      throw failure(
        "AccessDenied",
        `${where}: the server does not give this file to everyone. Sign in there and accept its licence, then ` +
          "download the file and open it from this computer.",
      );
    }
    if (status === 416 && start > 0) {
      return; // the file has shrunk: another one
    }
    if (!response.ok) {
      const again = PASSING.includes(status) || status >= 500;
      const advice = again ? "try again later" : "check the address";
      throw failure("NetworkError", `${`${where} ${response.statusText}`.trim()}: ${advice}.`, { again });
    }
    if (WEB_PAGE.test(response.headers.get("Content-Type") ?? "")) {
      throw failure("InvalidFile", `${this.url} is a web page, not a model. ${adviceOn(this.url)}`);
    }
  }

  /** @returns {{ facts: Facts, start: number, changed: boolean }} */
  #read(response, asked) {
    const { headers, status } = response;
    if (status === 416) {
      return { facts: { size: null, etag: null, lastModified: null }, start: -1, changed: true };
    }
    const range = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(headers.get("Content-Range") ?? "");
    const length = headers.has("Content-Encoding") ? null : number(headers.get("Content-Length"));
    const start = status !== 206 ? 0 : range ? Number(range[1]) : asked;
    if (start !== asked && start !== 0) {
      throw failure("NetworkError", `${this.url} was asked for bytes from ${asked} on, and answers from ${start} on.`);
    }
    const facts = {
      size: status === 206 ? number(range?.[3]) : length,
      etag: headers.get("ETag"),
      lastModified: headers.get("Last-Modified"),
    };
    return { facts, start, changed: this.known !== undefined && differ(this.known, facts) };
  }

  async *#pieces(body, attempt) {
    const next = pieces(body);
    try {
      for (;;) {
        const { done, value } = await attempt.wait(() => next.next());
        if (done) {
          return;
        }
        yield value;
      }
    } catch (error) {
      if (this.#signal.aborted) {
        throw cancelled(`The download of ${this.name}`);
      }
      const message = `The connection to ${this.url} broke off (${error?.message ?? error}).`;
      throw failure("NetworkError", message, { again: true });
    } finally {
      attempt.stop();
      await next.return(undefined).catch(() => {});
    }
  }
}

/** One request, which ends when the whole download does, or after a long silence. */
class Attempt {
  #controller = new AbortController();
  #outer;

  constructor(outer) {
    this.#outer = outer;
    this.signal = this.#controller.signal;
    outer.addEventListener("abort", this.stop);
    if (outer.aborted) {
      this.stop();
    }
  }

  stop = () => {
    this.#outer.removeEventListener("abort", this.stop);
    this.#controller.abort();
  };

  /** What `start` promises, if it comes before the silence has lasted too long. */
  async wait(start) {
    const timer = setTimeout(this.stop, SILENCE);
    try {
      return await start();
    } finally {
      clearTimeout(timer);
    }
  }
}

/** What If-Range may hold: it wants to be sure, which a weak ETag is not. */
function validatorOf(known) {
  return known?.etag && !known.etag.startsWith("W/") ? known.etag : (known?.lastModified ?? undefined);
}

function differ(known, facts) {
  if (known.size !== null && facts.size !== null && known.size !== facts.size) {
    return true;
  }
  if (known.etag && facts.etag) {
    return known.etag.replace(/^W\//, "") !== facts.etag.replace(/^W\//, "");
  }
  return Boolean(known.lastModified && facts.lastModified && known.lastModified !== facts.lastModified);
}

function adviceOn(url) {
  const { hostname, pathname } = new URL(url);
  if (hostname === "huggingface.co" && pathname.includes("/blob/")) {
    return `Use ${url.replace("/blob/", "/resolve/")}, which is the file itself.`;
  }
  return "Give the address of the file itself, as behind a download button; perhaps one has to sign in there first.";
}

function number(text) {
  return /^\d+$/.test(text ?? "") ? Number(text) : null;
}

/**
 * What the first bytes of a file show it to be, if it is no GGUF file though its name says so.
 *
 * @param {string} url
 * @param {string} name
 * @param {Uint8Array} bytes the file's first ones
 */
export function refuseOtherThanGguf(url, name, bytes) {
  if (!name.toLowerCase().endsWith(".gguf") || String.fromCharCode(...bytes.subarray(0, 4)) === "GGUF") {
    return;
  }
  const begin = new TextDecoder().decode(bytes.subarray(0, 512)).trimStart();
  if (/^(<!doctype|<html|<head|<\?xml)/i.test(begin)) {
    throw failure("InvalidFile", `${url} is a web page, not a model. ${adviceOn(url)}`);
  }
  if (begin.startsWith("version https://git-lfs")) {
    throw failure("InvalidFile", `${url} is a pointer of Git LFS, not the model that it stands for. ${adviceOn(url)}`);
  }
  throw failure(
    "InvalidFile",
    `${url} is no GGUF file: it begins with ${JSON.stringify(begin.slice(0, 16))}, not with "GGUF". Check the address.`,
  );
}
