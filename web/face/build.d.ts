// What the build puts into shaderlm.js: the worker's file, relative to the folder that holds `assets/`.
declare const SHADERLM_WORKER: string;
