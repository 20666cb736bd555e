// Makes a memory snapshot of the site's Pyodide with our package imported: what starts from it skips all imports.
//
// node snapshot.mjs FOLDER_OF_PYODIDE FILE.py SNAPSHOT, where the file of Python imports what the snapshot is to hold.
//
// It names no place on this machine. The packages are unpacked by Python, because loadPackage keeps JavaScript objects,
// which no snapshot can hold.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, script, target] = process.argv.slice(2);
process.argv[1] = "pyodide"; // the program's name, which Pyodide keeps in its memory
const { loadPyodide } = await import(pathToFileURL(join(folder, "pyodide.mjs")));
const pyodide = await loadPyodide({ indexURL: resolve(folder), env: { HOME: "/home/pyodide" }, _makeSnapshot: true });
for (const name of readdirSync(folder).filter((name) => name.endsWith(".whl"))) {
  pyodide.FS.writeFile(`/tmp/${name}`, readFileSync(join(folder, name)));
}
try {
  pyodide.runPython(readFileSync(script, "utf8"), { filename: basename(script) });
  writeFileSync(target, pyodide.makeMemorySnapshot());
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
