// Bundles the site's JavaScript and styles with esbuild into a folder, under names that hold a hash of the content.
//
// node bundle.mjs SETTINGS.json, with { sources, modules, out, assets, policy }: what is bundled is what there is of
// worker/worker.js, shaderlm.js, python-host.js, index.html with its page, and sw.js. `assets` is put into what starts
// Python, a list of all files into the service worker, and `policy` as Content-Security-Policy into index.html.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, extname, join, relative, sep } from "node:path";

const { sources, modules, out, assets, policy } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const esbuild = createRequire(join(modules, "package.json"))("esbuild");

process.on("uncaughtException", (error) => {
  if (!error.errors) {
    console.error(error);
  } // esbuild has told of its own
  process.exit(1);
});

const worker = await bundle("worker/worker.js", "assets/[name]-[hash]", { SHADERLM_ASSETS: assets });
await bundle("shaderlm.js", "[name]", { SHADERLM_WORKER: worker });
await bundle("python-host.js", "[name]", { SHADERLM_ASSETS: assets });
await page();
await bundle("sw.js", "[name]", { SHADERLM_SITE: site() });

/** The name of the bundle in `out`, or null where there is no such source. */
async function bundle(source, name, constants = {}) {
  if (!existsSync(join(sources, source))) {
    return null;
  }
  const result = await esbuild.build({
    absWorkingDir: sources,
    entryPoints: [source],
    outdir: out,
    entryNames: name,
    assetNames: "assets/[name]-[hash]",
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    charset: "utf8",
    legalComments: "inline", // licences that ask to stay with the code
    logLevel: "warning",
    metafile: true,
    nodePaths: [join(modules, "node_modules")],
    loader: { ".svg": "file", ".png": "file", ".woff2": "file" },
    define: Object.fromEntries(Object.entries(constants).map(([key, value]) => [key, JSON.stringify(value)])),
    plugins: [{ name: "face", setup: keepFaceOutside }],
  });
  const entry = Object.entries(result.metafile.outputs).find(([, output]) => output.entryPoint === source);
  return relative(out, join(sources, entry[0])).split(sep).join("/");
}

/** The page shares shaderlm.js with everybody else who imports it: it is one file at the site's root. */
function keepFaceOutside(build) {
  build.onResolve({ filter: /\/shaderlm\.js$/ }, ({ kind }) =>
    kind === "entry-point" ? undefined : { path: "../shaderlm.js", external: true },
  );
}

/** index.html, with what it names in page/ under the new names. */
async function page() {
  if (!existsSync(join(sources, "index.html"))) {
    return;
  }
  let html = readFileSync(join(sources, "index.html"), "utf8");
  for (const [, file] of html.matchAll(/(?:src|href)="(?:\.\/)?(page\/[^"]+)"/g)) {
    const name = [".js", ".css"].includes(extname(file)) ? await bundle(file, "assets/[name]-[hash]") : copied(file);
    html = html.replaceAll(file, name);
  }
  const charset = /<meta charset="utf-8" ?\/?>/i;
  if (!charset.test(html)) {
    throw new Error('index.html has no <meta charset="utf-8">, behind which its Content-Security-Policy goes');
  }
  const meta = `<meta http-equiv="Content-Security-Policy" content="${policy}">`;
  writeFileSync(join(out, "index.html"), html.replace(charset, (found) => `${found}\n${meta}`));
}

function copied(file) {
  const content = readFileSync(join(sources, file));
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 10);
  const name = `assets/${basename(file, extname(file))}-${hash}${extname(file)}`;
  mkdirSync(join(out, "assets"), { recursive: true });
  writeFileSync(join(out, name), content);
  return name;
}

/** As `fetch` wants it. */
function integrity(file) {
  return `sha256-${createHash("sha256").update(readFileSync(file)).digest("base64")}`;
}

/**
 * What the service worker keeps: every file but those that are fetched anew each time, and a version of them all. The
 * memory snapshot, without which all works, the worker keeps itself.
 */
function site() {
  const names = readdirSync(out, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(out, join(entry.parentPath ?? entry.path, entry.name)).split(sep).join("/"))
    .filter((name) => name !== "_headers" && name !== "site.json" && !name.startsWith("assets/snapshot-"))
    .sort();
  const version = createHash("sha256");
  for (const name of names) {
    version.update(`${name}\0`).update(readFileSync(join(out, name)));
  }
  const files = names.map((path) => ({ path, sha256: integrity(join(out, path)) }));
  return { version: version.digest("hex").slice(0, 16), files };
}
