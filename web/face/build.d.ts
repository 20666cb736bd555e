// What the build puts into the code (tools/site/bundle.mjs).

/** The worker's file, relative to the folder that holds `assets/`. */
declare const SHADERLM_WORKER: string;

/** Where Pyodide and its packages lie, relative to `assets/`. */
declare const SHADERLM_ASSETS: { pyodide: string; packages: string[]; snapshot: string | null };

/** All files of this version of the site, each with what `fetch` takes as its integrity. */
declare const SHADERLM_SITE: { version: string; files: { path: string; sha256: string }[] };
