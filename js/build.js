/**
 * Build what is in pushserver/static/pushserver from src, or with --check compare the
 * committed files with what would be built and hold them to their size. One file for each entry point: with
 * Django's manifest storage an import of another file would lead nowhere. No source
 * map, as that storage fails on a reference to a file that is not collected.
 */
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/**
 * `limit` is in bytes, minified and gzipped.
 * @typedef {{
 *   entry: string, output: string, format: "iife" | "esm", target: string, limit: number,
 * }} Bundle
 * @type {Bundle[]}
 */
const BUNDLES = [
  {
    entry: "src/browser.js",
    output: "updates.js",
    format: "iife",
    // The first browsers with fetch and AbortController understand this.
    target: "es2018",
    limit: 12_000,
  },
  {
    entry: "src/push.js",
    output: "push.js",
    format: "esm",
    target: "es2020",
    limit: 12_000,
  },
];
const BANNER =
  "/*! django-pushserver, BSD-3-Clause. Built from js/src by `npm run build`. */";

const here = fileURLToPath(new URL(".", import.meta.url));
const target = new URL("../pushserver/static/pushserver/", import.meta.url);
const check = process.argv.includes("--check");

for (const each of BUNDLES) {
  const { output, limit } = each;
  const built = await bundle(each);
  const file = new URL(output, target);
  const zipped = gzipSync(built, { level: 9 }).length;
  console.log(`${output}: ${built.length} bytes minified, ${zipped} gzipped`);
  if (zipped > limit) {
    console.error(`${output} may have ${limit} bytes, minified and gzipped`);
    process.exitCode = 1;
  }
  if (!check) {
    await writeFile(file, built);
  } else if ((await readFile(file, "utf8").catch(() => "")) !== built) {
    console.error(`${output} is not what src gives: run "npm run build" in js/`);
    process.exitCode = 1;
  }
}

/** @param {Bundle} wanted */
async function bundle({ entry, format, target }) {
  const { outputFiles } = await build({
    absWorkingDir: here,
    entryPoints: [entry],
    banner: { js: BANNER },
    bundle: true,
    charset: "utf8",
    format,
    legalComments: "none",
    minify: true,
    target,
    write: false,
  });
  return outputFiles[0]?.text ?? "";
}
