/**
 * Build pushserver/static/pushserver/updates.js from src, or with --check compare
 * the committed file with what would be built. One file for each entry point: with
 * Django's manifest storage an import of another file would lead nowhere. No source
 * map, as that storage fails on a reference to a file that is not collected.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const BUNDLES = [{ entry: "src/browser.js", output: "updates.js" }];
const BANNER =
  "/*! django-pushserver, BSD-3-Clause. Built from js/src by `npm run build`. */";

const here = fileURLToPath(new URL(".", import.meta.url));
const target = new URL("../pushserver/static/pushserver/", import.meta.url);
const check = process.argv.includes("--check");

for (const { entry, output } of BUNDLES) {
  const built = await bundle(entry);
  const file = new URL(output, target);
  if (!check) {
    await writeFile(file, built);
    const zipped = gzipSync(built, { level: 9 }).length;
    console.log(`${output}: ${built.length} bytes minified, ${zipped} gzipped`);
  } else if ((await readFile(file, "utf8").catch(() => "")) !== built) {
    console.error(`${output} is not what src gives: run "npm run build" in js/`);
    process.exitCode = 1;
  }
}

/**
 * @param {string} entry
 * @returns {Promise<string>}
 */
async function bundle(entry) {
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    banner: { js: BANNER },
    bundle: true,
    charset: "utf8",
    format: "iife",
    legalComments: "none",
    minify: true,
    // The first browsers with fetch and AbortController understand this.
    target: "es2018",
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}
