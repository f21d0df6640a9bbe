import assert from "node:assert/strict";
import { test } from "node:test";

import { createScene } from "./scene.js";

/** `$.updates` on several channels: which connection each of them has. */

function createPage() {
  const scene = createScene({ random: () => 0.5 });
  const page = scene.openUpdates();
  /** @type {Record<string, unknown[]>} */
  const seen = {};
  /** @type {string[]} */
  const states = [];
  page.updates.onStateChange(({ name, state }) => void states.push(`${name} ${state}`));
  for (const name of ["a", "b", "c"]) {
    const list = (seen[name] = /** @type {unknown[]} */ ([]));
    page.updates.registerProcessor(name, "t", ({ value }) => void list.push(value));
  }
  return {
    ...scene,
    ...page,
    seen,
    states,
    kinds: () => scene.server.requests.map(({ kind }) => kind),
    /** @param {string} name @param {unknown} value */
    send: (name, value) =>
      scene.server.publish(`/updates/${name}`, { type: "t", value }),
  };
}

test("several channels share one connection when the server offers it", async () => {
  const { server, updates, pass, seen, kinds, send } = createPage();
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  await pass(100);
  assert.deepEqual(kinds(), ["OPTIONS", "event-stream"]);
  assert.equal(server.connections(), 1);
  send("a", 1);
  send("b", 2);
  await pass(100);
  updates.subscribe({ c: "/updates/c" });
  await pass(100);
  send("c", 3);
  await pass(100);
  assert.deepEqual(seen, { a: [1], b: [2], c: [3] });
  assert.deepEqual(kinds(), ["OPTIONS", "event-stream", "event-stream"]);
});

test("a channel that polled goes over with its place", async () => {
  const { server, updates, pass, seen, kinds, send, states } = createPage();
  send("a", 1);
  updates.subscribe({ a: "/updates/a" });
  await pass(100);
  assert.deepEqual(kinds(), ["GET", "GET"]);
  updates.subscribe({ b: "/updates/b" });
  await pass(100);
  send("a", 2);
  await pass(100);
  assert.deepEqual(seen, { a: [1, 2], b: [], c: [] });
  assert.equal(server.connections(), 1);
  assert.deepEqual(states, ["a connecting", "a open", "b connecting", "b open"]);
});

test("a channel begins where its URL says", async () => {
  const { updates, pass, seen, kinds, send } = createPage();
  const since = send("a", "shown");
  send("a", 1);
  updates.subscribe({ a: `/updates/a?since=${since}`, b: "/updates/b" });
  await pass(100);
  send("a", 2);
  await pass(100);
  assert.deepEqual(seen, { a: [1, 2], b: [], c: [] });
  assert.deepEqual(kinds(), ["OPTIONS", "event-stream"]);
});

test("without the offer, or when nobody answers, each channel has its poll", async () => {
  for (const spoil of [
    (/** @type {any} */ server) => (server.offer = null),
    (/** @type {any} */ server) => (server.offer = "https://elsewhere.example/updates"),
    (/** @type {any} */ server) => (server.isDown = true),
  ]) {
    const { server, updates, pass, seen, kinds, send } = createPage();
    spoil(server);
    updates.subscribe({ a: "/updates/a", b: "/updates/b" });
    await pass(100);
    assert.deepEqual(kinds(), ["OPTIONS", "GET", "GET"]);
    server.isDown = false;
    send("b", 1);
    await pass(10_000);
    assert.deepEqual(seen, { a: [], b: [1], c: [] });
    assert.equal(server.connections(), 2);
  }
});

test("another origin that takes no cookies is asked without", async () => {
  const { server, environment, updates, pass, seen, send } = createPage();
  const { fetch } = server;
  environment.fetch = async (url, options) => {
    if (options.credentials === "include") throw new TypeError("Failed to fetch");
    return fetch(url, options);
  };
  const at = (/** @type {string} */ name) => `https://push.example/updates/${name}`;
  updates.subscribe({ a: at("a"), b: at("b") });
  await pass(100);
  send("a", 1);
  await pass(100);
  assert.deepEqual(seen["a"], [1]);
  assert.equal(server.connections(), 1);
});

test("an OPTIONS that is not answered does not keep the channels from polling", async () => {
  const { server, environment, updates, pass, seen, send } = createPage();
  const { fetch } = server;
  environment.fetch = (url, options) =>
    options.method === "OPTIONS"
      ? new Promise((_, reject) => options.signal.addEventListener("abort", reject))
      : fetch(url, options);
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  send("a", 1);
  await pass(3_100);
  assert.deepEqual(seen["a"], [1]);
  assert.equal(server.connections(), 2);
});

test("one channel, another origin or an interval of its own: nothing is shared", async () => {
  const { updates, pass, kinds } = createPage();
  updates.subscribe({ a: "/updates/a" });
  updates.subscribe({ b: "https://push.example/updates/b" });
  updates.subscribe({ c: "/updates/c" }, { interval: 10_000 });
  updates.subscribe({ d: "/updates/d?token=x" });
  await pass(100);
  assert.deepEqual(kinds(), ["GET", "GET", "GET", "GET"]);
});

test("a channel that is refused goes back to a poll of its own, with its place", async () => {
  const { server, updates, pass, seen, kinds, send } = createPage();
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  await pass(100);
  send("a", 1);
  await pass(100);
  server.refused.set("/updates/a", 404);
  server.forget("/updates/a");
  await pass(100);
  server.refused.clear();
  send("a", 2);
  send("b", 3);
  await pass(60_000);
  assert.deepEqual(seen, { a: [1, 2], b: [3], c: [] });
  assert.ok(kinds().includes("GET"));
  assert.equal(server.connections(), 2);
});

test("what is offered and is not there is left for good", async () => {
  const { server, environment, updates, pass, seen, kinds, send } = createPage();
  const { fetch } = server;
  environment.fetch = (url, options) => {
    const isOffered = options.method === "POST";
    return isOffered
      ? fetch(url, { ...options, method: "OPTIONS" })
      : fetch(url, options);
  };
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  await pass(100);
  updates.subscribe({ c: "/updates/c", d: "/updates/d" });
  await pass(100);
  const count = kinds().filter((kind) => kind === "OPTIONS").length;
  for (const name of ["a", "b", "c"]) send(name, name);
  await pass(60_000);
  assert.deepEqual(seen, { a: ["a"], b: ["b"], c: ["c"] });
  assert.equal(kinds().filter((kind) => kind === "OPTIONS").length, count);
  assert.equal(server.connections(), 4);
});

test("a server that is only starting up keeps its offer", async () => {
  const { server, environment, updates, pass, seen, kinds, send } = createPage();
  const { fetch } = server;
  let isStarting = true;
  environment.fetch = async (url, options) => {
    if (options.method !== "POST" || !isStarting) return fetch(url, options);
    return { status: 502, headers: new Headers(), text: async () => "" };
  };
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  await pass(2_000);
  assert.equal(updates.state("a"), "waiting");
  isStarting = false;
  send("a", 1);
  await pass(10_000);
  assert.deepEqual(seen["a"], [1]);
  assert.deepEqual(kinds(), ["OPTIONS", "event-stream"]);
});

test("a store that is down is waited for on the shared connection", async () => {
  const { server, updates, pass, seen, kinds, send } = createPage();
  server.refused.set("/updates/a", 503);
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  await pass(100);
  server.refused.clear();
  send("a", 1);
  await pass(30_000);
  assert.deepEqual(seen["a"], [1]);
  assert.ok(!kinds().includes("GET"));
});

test("states, gaps and what is no update are told as for a poll", async () => {
  const { server, updates, pass, seen, send, states, errors, fire } = createPage();
  /** @type {unknown[]} */
  const gaps = [];
  updates.onGap(({ name }) => void gaps.push(name));
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  await pass(100);
  send("a", 1);
  await pass(100);
  server.isDown = true;
  server.cutAll();
  await pass(100);
  for (const value of [2, 3]) send("a", value);
  server.trim("/updates/a", 1);
  server.isDown = false;
  fire("online");
  await pass(100);
  server.publish("/updates/a", null, {
    type: "text/plain",
    text: '{"type":"t","value":4}',
  });
  server.publish("/updates/a", '{"type":"t","value":"no"}');
  server.publish("/updates/a", null, { type: "image/png", base64: "AP8=" });
  await pass(100);
  assert.deepEqual(seen["a"], [1, 3, 4]);
  assert.deepEqual(gaps, ["a"]);
  assert.deepEqual(
    states.filter((each) => each.startsWith("a")),
    ["a connecting", "a open", "a waiting", "a open"],
  );
  assert.deepEqual(errors, [
    'pushserver: channel "a": skipped a message that is JSON, but no object',
    'pushserver: channel "a": skipped a message that is not JSON',
  ]);
});

test("unsubscribe, page lifecycle and a new subscription hold for a shared channel", async () => {
  const { server, updates, pass, seen, send, fire } = createPage();
  updates.subscribe({ a: "/updates/a", b: "/updates/b" });
  await pass(100);
  updates.unsubscribe("a");
  send("a", 1);
  await pass(100);
  assert.deepEqual(seen["a"], []);
  fire("pagehide");
  await pass(100);
  assert.equal(server.connections(), 0);
  send("b", 2);
  updates.subscribe({ c: "/updates/c" });
  fire("pageshow");
  await pass(100);
  send("c", 3);
  await pass(100);
  assert.deepEqual(seen, { a: [], b: [2], c: [3] });
  assert.equal(server.connections(), 1);
  assert.equal(updates.state("b"), "open");
  assert.equal(updates.state("a"), "closed");
});
