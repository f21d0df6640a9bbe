import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setImmediate as turnOfTheLoop } from "node:timers/promises";
import { JSDOM, VirtualConsole } from "jsdom";

import { cursorHeaders } from "./world.js";

/** The built file, as a page loads it. */
const UPDATES = read("../../pushserver/static/pushserver/updates.js");
const EXAMPLE =
  /```html\n([^]*?)```/.exec(read("../../docs/how-to/jquery.md"))?.[1] ?? "";
const JQUERIES = ["jquery-1", "jquery-3", "jquery-4"].map((name) => {
  return { name, source: read(`../node_modules/${name}/dist/jquery.js`) };
});

/** @param {string} path */
function read(path) {
  return readFileSync(new URL(path, import.meta.url), "utf8");
}

/**
 * A page of the classic scripts in `sources`, and the polls it makes.
 * @param {import("node:test").TestContext} t
 * @param {string[]} sources
 * @param {string} [html]
 */
function load(t, sources, html = "<!doctype html><body>") {
  const virtualConsole = new VirtualConsole();
  virtualConsole.on("jsdomError", (error) => {
    throw error;
  });
  const { window } = new JSDOM(html, {
    url: "https://page.example/",
    runScripts: "outside-only",
    virtualConsole,
  });
  t.after(() => window.close());
  /**
   * @type {{ url: string, headers: any, message(update: unknown, id: number): void }[]}
   */
  const polls = [];
  /** @type {any} */
  const page = window;
  page.fetch = (/** @type {string} */ url, /** @type {any} */ { headers }) =>
    new Promise((resolve) => {
      polls.push({
        url,
        headers,
        message(update, id) {
          const body = JSON.stringify(update);
          resolve({
            status: 200,
            headers: new Headers(cursorHeaders(id)),
            text: async () => body,
          });
        },
      });
    });
  for (const source of sources) window.eval(source);
  return { page, polls };
}

for (const { name, source } of JQUERIES) {
  test(`with ${name} the built file is $.updates, and works`, async (t) => {
    const { page, polls } = load(t, [source, UPDATES]);
    /** @type {unknown[]} */
    const seen = [];
    page.$.updates.registerProcessor("a", "t", (/** @type {any} */ update) => {
      seen.push(update.value);
    });
    page.$.updates.subscribe({ a: "/updates/a" });
    polls[0]?.message({ type: "t", value: 42 }, 1);
    await turnOfTheLoop();
    assert.deepEqual(seen, [42]);
    assert.equal(polls[1]?.url, "https://page.example/updates/a");
    assert.equal(polls[1]?.headers["If-None-Match"], '"1-0"');
  });

  test(`the example of the documentation works with ${name}`, async (t) => {
    const html = EXAMPLE.replace("{% channel_url 'votes' %}", "/updates/votes")
      .replace(/\{%.*?%\}/g, "")
      .replace(/<script[^]*<\/script>/, "");
    const script = /<script>([^]*?)<\/script>/.exec(EXAMPLE)?.[1] ?? "";
    const filled = script.replace("{% channel_url 'votes' %}", "/updates/votes");
    const { page, polls } = load(t, [source, UPDATES, filled], html);
    polls[0]?.message({ type: "count", value: 42 }, 1);
    await turnOfTheLoop();
    assert.equal(page.document.getElementById("count").textContent, "42");
    polls[1]?.message({ type: "closed" }, 2);
    await turnOfTheLoop();
    assert.equal(polls.length, 2);
    assert.equal(page.$.updates.state("votes"), "closed");
  });
}

test("without jQuery the same functions are pushserver.updates", async (t) => {
  const { page, polls } = load(t, [UPDATES]);
  page.pushserver.updates.subscribe({ a: "/updates/a" });
  assert.equal(polls.length, 1);
  assert.deepEqual(Object.keys(page.pushserver.updates).sort(), [
    "onGap",
    "onStateChange",
    "registerProcessor",
    "state",
    "subscribe",
    "unsubscribe",
  ]);
});

test("loaded twice it is still one client, also for a second jQuery", (t) => {
  const [first, , last] = JQUERIES;
  assert.ok(first && last);
  const { page } = load(t, [first.source, UPDATES]);
  const { updates } = page.$;
  page.eval(last.source);
  page.eval(UPDATES);
  assert.notEqual(page.$.fn.jquery, "1.12.4");
  assert.equal(page.$.updates, updates);
  assert.equal(page.pushserver.updates, updates);
});

test("an element with the id pushserver is not taken for the client", (t) => {
  const { page } = load(t, [UPDATES], '<p id="pushserver">');
  assert.equal(typeof page.pushserver.updates.subscribe, "function");
});
