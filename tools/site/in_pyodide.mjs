// Runs a file of Python in Pyodide under Node, with wheels to import from, and folders of this machine mounted.
//
// node in_pyodide.mjs FOLDER_OF_PYODIDE FOLDER_OF_WHEELS FILE.py /mount=folder ...

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, wheels, script, ...mounts] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(folder, "pyodide.mjs")));
const env = {
  HOME: "/home/pyodide",
  SOURCE_DATE_EPOCH: "315532800", // so that the same sources give the same bytes; 1980 is an archive's first year
};
const pyodide = await loadPyodide({ indexURL: resolve(folder), env });
for (const mount of [`/wheels=${wheels}`, ...mounts]) {
  const at = mount.indexOf("=");
  pyodide.mountNodeFS(mount.slice(0, at), resolve(mount.slice(at + 1)));
}
try {
  pyodide.runPython("import glob, sys; sys.path += glob.glob('/wheels/*.whl')");
  pyodide.runPython(readFileSync(script, "utf8"), { filename: script });
} catch (error) {
  console.error(error.message); // Python's traceback; an uncaught error would show Pyodide's source
  process.exitCode = 1;
}
