// A worker in which tests use files.js. `?without=locks,byob`: takes these away first, as browsers lack them.

const ABSENT = {
  locks: () => delete WorkerNavigator.prototype.locks,
  byob: () => {
    const { getReader } = ReadableStream.prototype;
    ReadableStream.prototype.getReader = function (options) {
      if (options?.mode === "byob") {
        throw new TypeError("no BYOB readers here");
      }
      return getReader.call(this);
    };
  },
  extras: () => {
    delete StorageManager.prototype.estimate;
    delete StorageManager.prototype.persisted;
    for (const name of ["CompressionStream", "DecompressionStream", "BroadcastChannel", "ReadableStreamBYOBReader"]) {
      delete self[name];
    }
  },
  storage: () => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("The operation is insecure.", "SecurityError");
    };
  },
  indexedDB: () => Object.defineProperty(self, "indexedDB", { value: undefined }),
};

for (const name of new URLSearchParams(location.search).get("without")?.split(",") ?? []) {
  ABSENT[name]();
}

self.files = await import("/worker/files.js");
self.opened = new Map(); // by name: files that a test goes on with

/** Open a file, with what it tells. `keep`: under this name, for a later `finish`. */
self.open = async (source, { keep, ...options } = {}) => {
  const told = { notices: [], progress: [] };
  const file = await files.openModel(source, {
    pauses: [1, 1],
    ...options,
    onNotice: (notice) => told.notices.push(notice),
    onProgress: (progress) => told.progress.push(progress),
  });
  opened.set(keep, { file, told });
  return { file, told };
};

/** Read a whole file in odd steps, as tensors lie; then what it was. */
self.readAll = async ({ file, told }, step = 777_777) => {
  const bytes = new Uint8Array(file.size);
  for (let at = 0; at < file.size; at += step) {
    bytes.set(await file.chunk(at, Math.min(step, file.size - at)), at);
  }
  await file.finished();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const sha256 = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { sha256, size: file.size, name: file.name, key: file.key, ...told };
};

/** The outcome of a whole load, or the error. */
self.load = (source, options) =>
  outcome(async () => {
    const whole = await open(source, options);
    try {
      return await readAll(whole);
    } finally {
      whole.file.close();
    }
  });

self.outcome = async (attempt) => {
  try {
    return await attempt();
  } catch (error) {
    return { error: { code: error.code ?? null, name: error.name, message: error.message } };
  }
};

self.database = () =>
  new Promise((resolve, reject) => {
    const request = indexedDB.open("shaderlm");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

const chunks = async () => (await database()).transaction("chunks", "readwrite").objectStore("chunks");
const ask = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
const keyOf = async (index) => (await ask((await chunks()).getAllKeys())).find((key) => key[1] === index);

self.countOfChunks = async () => ask((await chunks()).count());

self.bytesInChunks = async () => (await ask((await chunks()).getAll())).reduce((sum, { size }) => sum + size, 0);

/** Change a byte of a stored chunk, as a bad disk does. */
self.damage = async (index) => {
  const key = await keyOf(index);
  const bytes = new Uint8Array(await (await ask((await chunks()).get(key))).arrayBuffer());
  bytes[bytes.length >> 1] ^= 1;
  await ask((await chunks()).put(new Blob([bytes]), key));
};

/** Take a stored chunk away. */
self.lose = async (index) => {
  const key = await keyOf(index);
  await ask((await chunks()).delete(key));
};

/** Wait until a load waits for another tab. */
self.untilWaiting = async () => {
  while ((await navigator.locks.query()).pending.length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

/** Wait until so many bytes are stored. */
self.untilStored = async (bytes) => {
  while (((await files.listModels())[0]?.stored ?? 0) < bytes) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};

self.ready = true;
