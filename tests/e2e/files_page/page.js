// Starts the worker whose queries say what a browser lacks.

self.worker = new Worker(`/worker.js${location.search}`, { type: "module" });
