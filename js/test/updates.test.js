import assert from "node:assert/strict";
import { test } from "node:test";

import { createUpdates } from "../src/updates.js";
import { createWorld, cursorHeaders } from "./world.js";

/** @param {import("node:test").TestContext} t */
function createPage(t) {
  const world = createWorld(t);
  const updates = createUpdates(world.environment);
  /** @type {unknown[]} */
  const seen = [];
  /** @param {any} update */
  const see = (update) => void seen.push(update.value);
  return { world, updates, seen, see };
}

test("an update reaches the processors of its channel and type, in order", async (t) => {
  const { world, updates, seen, see } = createPage(t);
  updates.registerProcessor("a", "t", see);
  updates.registerProcessor("a", "t", ({ value }) => void seen.push(`again ${value}`));
  updates.registerProcessor("a", "other", () => assert.fail("another type"));
  updates.registerProcessor("b", "t", () => assert.fail("another channel"));
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).message({ type: "t", value: 1 }, 1);
  (await world.request(2)).message({ type: "t", value: 2 }, 2);
  await world.request(3);
  assert.deepEqual(seen, [1, "again 1", 2, "again 2"]);
});

test("a processor may be registered after subscribe, and taken back", async (t) => {
  const { world, updates, seen, see } = createPage(t);
  updates.subscribe({ a: "/updates/a" });
  const first = await world.request(1);
  const takeBack = updates.registerProcessor("a", "t", see);
  first.message({ type: "t", value: 1 }, 1);
  const second = await world.request(2);
  takeBack();
  second.message({ type: "t", value: 2 }, 2);
  await world.request(3);
  assert.deepEqual(seen, [1]);
});

test("each channel has one poll, at its URL relative to the page", async (t) => {
  const { world, updates } = createPage(t);
  updates.subscribe({ a: "updates/a", b: "/updates/%C3%A4#fragment" });
  (await world.request(1)).answer(405); // does it offer more? no
  await world.request(3);
  const [asked, ...polls] = world.requests;
  assert.equal(asked?.options.method, "OPTIONS");
  assert.deepEqual(
    polls.map(({ url }) => url),
    ["https://page.example/app/updates/a", "https://page.example/updates/%C3%A4"],
  );
});

test("subscribing again to the same URL changes nothing", async (t) => {
  const { world, updates } = createPage(t);
  updates.subscribe({ a: "/updates/a" });
  updates.subscribe({ a: "https://page.example/updates/a" });
  assert.equal((await world.request(1)).aborted, false);
});

test("another URL under the same name replaces the old one", async (t) => {
  const { world, updates, seen, see } = createPage(t);
  updates.registerProcessor("a", "t", see);
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).message({ type: "t", value: 1 }, 1);
  const old = await world.request(2);
  updates.subscribe({ a: "/updates/other" });
  const fresh = await world.request(3);
  assert.equal(old.aborted, true);
  assert.deepEqual(fresh.options.headers, {});
  fresh.message({ type: "t", value: 2 }, 1);
  await world.request(4);
  assert.deepEqual(seen, [1, 2]);
});

test("a processor that throws stops neither the others nor the polling", async (t) => {
  const { world, updates, seen, see } = createPage(t);
  updates.registerProcessor("a", "t", () => {
    throw new Error("oops");
  });
  updates.registerProcessor("a", "t", see);
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).message({ type: "t", value: 1 }, 1);
  (await world.request(2)).message({ type: "t", value: 2 }, 2);
  await world.request(3);
  assert.deepEqual(seen, [1, 2]);
  assert.deepEqual(
    world.errors(),
    Array(2).fill('pushserver: a processor of channel "a" failed: Error: oops'),
  );
});

test("what is no update of a known type is skipped with one warning each", async (t) => {
  const { world, updates, seen, see } = createPage(t);
  updates.registerProcessor("a", "t", see);
  updates.subscribe({ a: "/updates/a" });
  const bodies = [
    "<p>",
    "",
    "[]",
    "null",
    "7",
    "{}",
    '{"type": 7}',
    '{"type": "constructor"}',
    '{"type": "x"}',
  ];
  let count = 0;
  for (const body of [...bodies, ...bodies]) {
    (await world.request(++count)).answer(200, cursorHeaders(count), body);
  }
  (await world.request(++count)).message({ type: "t", value: 1 }, count);
  await world.request(++count);
  assert.deepEqual(seen, [1]);
  assert.deepEqual(
    world.warnings(),
    [
      "a message that is not JSON",
      "a message that is JSON, but no object",
      "an update with no type, which no processor is registered for",
      "an update with type 7, which no processor is registered for",
      'an update with type "constructor", which no processor is registered for',
      'an update with type "x", which no processor is registered for',
    ].map((what) => `pushserver: channel "a": skipped ${what}`),
  );
});

test("a channel with endless new types ends its warnings at a hundred", async (t) => {
  const { world, updates } = createPage(t);
  updates.subscribe({ a: "/updates/a" });
  for (let count = 1; count <= 120; count++) {
    (await world.request(count)).message({ type: `generated ${count}` }, count);
  }
  await world.request(121);
  assert.equal(world.warnings().length, 100);
});

test("unsubscribe ends the poll and says whether there was one", async (t) => {
  const { world, updates } = createPage(t);
  updates.subscribe({ a: "/updates/a" });
  const request = await world.request(1);
  assert.equal(updates.unsubscribe("a"), true);
  assert.equal(updates.unsubscribe("a"), false);
  assert.equal(request.aborted, true);
  await world.pass(1_000_000);
  await world.request(1);
});

test("a processor may unsubscribe its own channel", async (t) => {
  const { world, updates } = createPage(t);
  updates.registerProcessor("a", "t", () => updates.unsubscribe("a"));
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).message({ type: "t" }, 1);
  await world.pass(1_000_000);
  await world.request(1);
  assert.equal(updates.state("a"), "closed");
});

test("nothing is delivered once a callback of the same answer has unsubscribed", async (t) => {
  const { world, updates, seen, see } = createPage(t);
  updates.registerProcessor("a", "t", see);
  updates.onStateChange(({ state }) => {
    if (state === "open") updates.unsubscribe("a");
  });
  updates.onGap(() => assert.fail("after unsubscribe"));
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).answer(
    200,
    { ...cursorHeaders(1), "X-Push-Gap": "1" },
    '{"type": "t", "value": 1}',
  );
  await world.request(1);
  assert.deepEqual(seen, []);
});

test("the connection's state is told as it changes and can be asked for", async (t) => {
  const { world, updates } = createPage(t);
  /** @type {string[]} */
  const states = [];
  const end = updates.onStateChange(({ name, url, state, status }) => {
    assert.equal(url, "https://page.example/updates/a");
    states.push(`${name} ${state} ${status}`);
    assert.equal(updates.state(name), state);
  });
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).message({}, 1);
  (await world.request(2)).answer(503);
  await world.pass(500);
  await world.request(3);
  await world.pass(1_000);
  updates.unsubscribe("a");
  end();
  updates.subscribe({ a: "/updates/a" });
  assert.deepEqual(states, [
    "a connecting null",
    "a open 200",
    "a waiting 503",
    "a open null",
    "a closed null",
  ]);
});

test("lost history is told with the name of the channel", async (t) => {
  const { world, updates } = createPage(t);
  /** @type {unknown[]} */
  const gaps = [];
  const end = updates.onGap((gap) => void gaps.push(gap));
  updates.subscribe({ a: "/updates/a" });
  for (const id of [1, 2]) {
    const headers = { ...cursorHeaders(id), "X-Push-Gap": "1" };
    (await world.request(id)).answer(200, headers, "{}");
    await world.request(id + 1);
    end();
  }
  assert.deepEqual(gaps, [{ name: "a", url: "https://page.example/updates/a" }]);
});

test("a callback that throws is reported and harms nothing", async (t) => {
  const { world, updates, seen, see } = createPage(t);
  updates.onStateChange(() => {
    throw new Error("oops");
  });
  updates.registerProcessor("a", "t", see);
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).message({ type: "t", value: 1 }, 1);
  await world.request(2);
  assert.deepEqual(seen, [1]);
  assert.deepEqual(
    world.errors(),
    Array(2).fill("pushserver: a callback failed: Error: oops"),
  );
});

test("leaving the page aborts quietly, and the back-forward cache brings it back", async (t) => {
  const { world, updates, see } = createPage(t);
  /** @type {string[]} */
  const states = [];
  updates.registerProcessor("a", "t", see);
  updates.onStateChange(({ state }) => void states.push(state));
  updates.subscribe({ a: "/updates/a" });
  (await world.request(1)).message({ type: "t", value: 1 }, 1);
  const held = await world.request(2);
  world.fire("beforeunload");
  world.fire("pagehide");
  assert.equal(held.aborted, true);
  await world.pass(1_000_000);
  await world.request(2);
  world.fire("pageshow");
  const resumed = await world.request(3);
  assert.equal(resumed.options.headers["If-None-Match"], '"1-0"');
  assert.deepEqual(states, ["connecting", "open"]);
  assert.deepEqual(world.errors(), []);
});

test("the pageshow of a page that just loaded disturbs no poll", async (t) => {
  const { world, updates } = createPage(t);
  updates.subscribe({ a: "/updates/a" });
  world.fire("pageshow");
  assert.equal((await world.request(1)).aborted, false);
});

test("what is subscribed to while the page is hidden away starts when it returns", async (t) => {
  const { world, updates } = createPage(t);
  world.fire("pagehide");
  updates.subscribe({ a: "/updates/a" });
  await world.pass(1_000);
  assert.equal(world.requests.length, 0);
  world.fire("pageshow");
  await world.request(1);
});

test("a poll cut off after beforeunload is no failure", async (t) => {
  const { world, updates } = createPage(t);
  updates.subscribe({ a: "/updates/a" });
  const request = await world.request(1);
  world.fire("beforeunload");
  request.fail();
  await world.pass(0);
  assert.equal(updates.state("a"), "connecting");
});

test("wrong arguments throw a TypeError that says what is accepted", async (t) => {
  const { world, updates } = createPage(t);
  /** @type {any} */
  const untyped = updates;
  const url = /http or https URL without user name or one relative to the page/;
  const fn = () => {};
  /** @type {[() => unknown, RegExp][]} */
  const wrong = [
    [() => untyped.subscribe(), /an object \{name: url, \.\.\.\}, not undefined/],
    [() => untyped.subscribe("a"), /an object \{name: url, \.\.\.\}, not "a"/],
    [() => untyped.subscribe(null), /an object/],
    [() => untyped.subscribe(["/updates/a"]), /an object/],
    [() => untyped.subscribe({ "": "/updates/a" }), /name of a channel must be/],
    [() => untyped.subscribe({ a: "" }), url],
    [() => untyped.subscribe({ a: 7 }), url],
    [() => untyped.subscribe({ a: "http://[" }), url],
    [() => untyped.subscribe({ a: "ftp://page.example/a" }), url],
    [() => untyped.subscribe({ a: "http://me:secret@page.example/a" }), url],
    [() => untyped.subscribe({ good: "/updates/a", bad: null }), url],
    [() => untyped.subscribe({}, null), /an object \{interval, credentials\}/],
    [
      () => untyped.subscribe({}, { intervall: 1 }),
      /interval and credentials, not intervall/,
    ],
    [() => untyped.subscribe({}, { interval: 0 }), /milliseconds above 0.*not 0/],
    [() => untyped.subscribe({}, { interval: "3" }), /milliseconds above 0.*not "3"/],
    [() => untyped.subscribe({}, { interval: Infinity }), /up to one day/],
    [
      () => untyped.subscribe({}, { credentials: true }),
      /auto, include, omit, same-origin/,
    ],
    [() => untyped.unsubscribe(), /the key used in subscribe/],
    [() => untyped.registerProcessor(7, "t", fn), /the key used in subscribe/],
    [() => untyped.registerProcessor("a", null, fn), /the type must be a string/],
    [
      () => untyped.registerProcessor("a", "t"),
      /registerProcessor: expected a function/,
    ],
    [() => untyped.onStateChange({}), /onStateChange: expected a function/],
    [() => untyped.onGap(), /onGap: expected a function/],
    [() => untyped.state(), /the key used in subscribe/],
  ];
  for (const [call, message] of wrong) {
    assert.throws(call, (error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, message);
      return true;
    });
  }
  await world.pass(0);
  assert.equal(world.requests.length, 0);
});
