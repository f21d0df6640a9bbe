import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { JSDOM } from "jsdom";

import { connect } from "../src/push.js";
import { createUpdates } from "../src/updates.js";
import { createScene } from "./scene.js";
import { createWorld, cursorHeaders } from "./world.js";

/** What stands in docs/ about our scripts: each example is run, each name compared. */

/** @param {string} path */
function read(path) {
  return readFileSync(new URL(`../../docs/${path}`, import.meta.url), "utf8");
}

const GUIDE = read("how-to/push-module.md");
const REFERENCE = read("reference/javascript-api.md");
const JQUERY = read("how-to/jquery.md");
const TYPES = readFileSync(
  new URL("../../pushserver/static/pushserver/push.d.ts", import.meta.url),
  "utf8",
);

/** @param {string} text */
function examples(text) {
  return [...text.matchAll(/```js\n([^]*?)```/g)].map((found) => found[1] ?? "");
}

/**
 * Run an example with a client that listens, and let it hear something.
 * @param {string} source
 */
async function run(source) {
  const scene = createScene({ random: () => 0.5 });
  const { environment, errors } = scene.openUpdates();
  const { window } = new JSDOM(
    '<body data-user="ann"><b id="count"></b><i id="state"></i>',
  );
  /** @type {unknown[][]} */
  const logged = [];
  const names = {
    connect: (/** @type {any} */ config) => connect(config, environment),
    readConfig: () => ({ multiplex: "/updates" }),
    client: connect({ multiplex: "/updates", share: false }, environment),
    document: window.document,
    console: { log: (/** @type {unknown[]} */ ...all) => void logged.push(all) },
    fetch: async () => ({ json: async () => ({ value: 7, token: "t" }) }),
  };
  const body = source
    .replace(/^import .*\n/, "")
    .replace(/^const client = (.*);$/m, "client = $1; made.push(client);")
    .replace(/^(connect\([^]*\));$/m, "made.push($1);");
  /** @type {ReturnType<typeof connect>[]} */
  const made = [];
  new Function(...Object.keys(names), "made", body)(...Object.values(names), made);
  const quiet = made.length > 0 ? made : [names.client];
  for (const client of quiet) client.subscribe("votes", () => {});
  await scene.pass(100);
  const id = scene.server.publish("votes", { value: 42 });
  for (const name of ["room-1", "room-2", "/live/scores"]) {
    scene.server.publish(name, { text: name });
  }
  await scene.pass(100);
  const text = (/** @type {string} */ name) =>
    window.document.getElementById(name)?.textContent;
  return { ...scene, errors, logged, made, text, id };
}

const outcomes =
  /** @type {[RegExp, (done: Awaited<ReturnType<typeof run>>) => void | Promise<void>][]} */ ([
    [
      /multiplex: "\/updates" }\);\nclient\.subscribe/,
      ({ logged }) => {
        assert.deepEqual(logged, [[42]]);
      },
    ],
    [/TEXTS/, ({ text }) => assert.equal(text("state"), "live")],
    [
      /async onGap/,
      async ({ text, server, pass }) => {
        assert.equal(text("count"), "42");
        server.isDown = true;
        server.cutAll();
        server.publish("votes", { value: 43 });
        server.trim("votes", 0);
        server.isDown = false;
        await pass(60_000);
        assert.equal(text("count"), "7");
      },
    ],
    [/room-1/, ({ logged }) => assert.deepEqual(logged, [["room-2"]])],
    [
      /live\/scores/,
      ({ logged }) => {
        assert.deepEqual(logged, [[{ text: "/live/scores" }]]);
      },
    ],
    [/share:/, ({ made }) => assert.equal(made[0]?.state, "open")],
    [
      /transports:/,
      ({ server }) => {
        assert.deepEqual(
          [...server.readers].map(({ kind }) => kind),
          ["event-stream"],
        );
      },
    ],
    [
      /onError:/,
      async ({ server, pass, logged }) => {
        server.forget("votes");
        await pass(100);
        assert.deepEqual(logged, [[42], [410, "ended"]]);
      },
    ],
    [
      /token/,
      ({ server }) => {
        const { body } = server.requests.at(-1) ?? {};
        assert.deepEqual(body.subscribe.channels, { votes: { token: "t" } });
      },
    ],
    [/readConfig/, ({ made }) => assert.equal(made[0]?.state, "open")],
  ]);

for (const source of [...examples(GUIDE), ...examples(REFERENCE)]) {
  test(`the example works:\n${source}`, async () => {
    const found = outcomes.filter(([pattern]) => pattern.test(source));
    assert.equal(found.length, 1, "one expectation for each example");
    const done = await run(source);
    await found[0]?.[1](done);
    assert.deepEqual(done.errors, []);
  });
}

/** The fragments about `$.updates`, and what the page says of each. */
const fragments =
  /** @type {[RegExp, (world: import("./world.js").World) => Promise<void>][]} */ ([
    [
      /interval: 10000/,
      async (world) => {
        (await world.request(1)).message({ type: "t" }, 1);
        (await world.request(2)).message({ type: "t" }, 2); // without a pause
        (await world.request(3)).answer(304, cursorHeaders(2));
        await world.pass(8_999);
        await world.request(3);
        await world.pass(1);
        await world.request(4);
      },
    ],
    [
      /credentials: "omit"/,
      async (world) => {
        const first = await world.request(1);
        assert.equal(first.url, "https://push.example.com/updates/votes");
        assert.equal(first.options.credentials, "omit");
        first.fail();
        await world.request(1); // no other mode is tried out at once
        await world.pass(1_000);
        assert.equal((await world.request(2)).options.credentials, "omit");
      },
    ],
  ]);

test("the page has the fragments that are expected", () => {
  assert.equal(examples(JQUERY).length, fragments.length);
});

for (const source of examples(JQUERY)) {
  test(`the fragment does what its page says:\n${source}`, async (t) => {
    const found = fragments.filter(([pattern]) => pattern.test(source));
    assert.equal(found.length, 1, "one expectation for each fragment");
    const world = createWorld(t);
    const updates = createUpdates(world.environment);
    updates.registerProcessor("votes", "t", () => {});
    new Function("$", source)({ updates });
    await found[0]?.[1](world);
    assert.deepEqual(world.errors(), []);
  });
}

/** The names in the first column of the table under a heading. @param {string} heading */
function table(heading) {
  const section = REFERENCE.split(/^#+ /m).find((each) =>
    each.startsWith(`${heading}\n`),
  );
  return [...(section ?? "").matchAll(/^\| `(\S+)` \|/gm)]
    .map((found) => found[1])
    .sort();
}

/** The members of an interface or the names in a type. @param {string} declaration */
function declared(declaration) {
  const start = TYPES.indexOf(declaration);
  assert.ok(start >= 0, declaration);
  const rest = TYPES.slice(start);
  if (declaration.startsWith("export type")) {
    const line = rest.slice(0, rest.indexOf(";"));
    return [...line.matchAll(/"(.*?)"/g)].map((found) => found[1]).sort();
  }
  const body = rest.slice(0, rest.indexOf("\n}"));
  return [...body.matchAll(/^ {2}(?:readonly )?(\w+)/gm)]
    .map((found) => found[1])
    .sort();
}

for (const [heading, declaration] of /** @type {[string, string][]} */ ([
  ["Configuration", "export interface Config "],
  ["Client", "export interface Client "],
  ["Handlers", "export interface Handlers<"],
  ["Subscription", "export interface Subscription "],
  ["Events", "export interface Events "],
  ["States", "export type State "],
])) {
  test(`the table ${heading} has what push.d.ts declares`, () => {
    assert.deepEqual(table(heading), declared(declaration));
  });
}

test("the tables of functions have what there is", async () => {
  const module = await import("../src/push.js");
  assert.deepEqual(table("push.js"), Object.keys(module).sort());
  const updates = createUpdates(createScene().open().environment);
  assert.deepEqual(table("$.updates"), Object.keys(updates).sort());
});
