import assert from "node:assert/strict";
import { test } from "node:test";

import { createScene, seeded } from "./scene.js";

const HALF = { random: () => 0.5 };

/** Different ids for the tabs, and the same ones each time. */
function counting() {
  let count = 0;
  return { random: () => 0.5 + ++count / 1e9 };
}

test("ten tabs on twelve channels hold one connection in all", async () => {
  const scene = createScene(counting());
  const names = Array.from({ length: 12 }, (_, place) => `c${place}`);
  const pages = Array.from({ length: 10 }, () => scene.open());
  for (const page of pages) page.listen(...names);
  await scene.pass(1_000);
  assert.equal(scene.server.connections(), 1);
  for (const name of names) scene.server.publish(name, name);
  await scene.pass(100);
  for (const page of pages) {
    assert.deepEqual(
      page.heard,
      Object.fromEntries(names.map((name) => [name, [name]])),
    );
    assert.deepEqual(page.states, ["open null"]);
  }
  assert.equal(scene.server.connections(), 1);
});

test("each tab has its own channels and its own place in them", async () => {
  const scene = createScene(counting());
  scene.server.publish("a", 1);
  const since = scene.server.publish("a", 2);
  const first = scene.open({ channels: { a: { since } } });
  first.listen("a");
  await scene.pass(100);
  scene.server.publish("a", 3);
  await scene.pass(100);
  const second = scene.open();
  second.listen("a", "b");
  const third = scene.open();
  third.listen("b");
  await scene.pass(100);
  scene.server.publish("b", 4);
  scene.server.publish("a", 5);
  await scene.pass(100);
  assert.deepEqual(first.heard, { a: [3, 5] });
  assert.deepEqual(second.heard, { a: [1, 2, 3, 5], b: [4] });
  assert.deepEqual(third.heard, { b: [4] });
  assert.equal(scene.server.connections(), 1);
});

test("a tab that starts with the newest takes nothing from one that is behind", async () => {
  const scene = createScene(counting());
  scene.server.firstMessage = "newest";
  const since = scene.server.publish("a", 1);
  for (const value of [2, 3]) scene.server.publish("a", value);
  const first = scene.open();
  first.listen({ channel: "a", since });
  const second = scene.open();
  second.listen("a");
  await scene.pass(200);
  scene.server.publish("a", 4);
  await scene.pass(200);
  assert.deepEqual(first.heard, { a: [2, 3, 4] });
  assert.deepEqual(second.heard, { a: [4] });
});

for (const [what, go] of /** @type {[string, string][]} */ ([
  ["closes", "pagehide"],
  ["freezes", "freeze"],
])) {
  test(`when the leader ${what} another takes over, and nothing is lost`, async () => {
    const scene = createScene(counting());
    const pages = [scene.open(), scene.open(), scene.open()];
    for (const page of pages) page.listen("a", "b");
    pages[2]?.listen("c"); // and nobody else
    await scene.pass(100);
    for (const [place, page] of pages.slice(0, 2).entries()) {
      scene.server.publish("a", place);
      page.fire(go);
      scene.server.publish("b", place);
      await scene.pass(100);
      scene.server.publish("c", place);
      await scene.pass(100);
      assert.equal(pages[2]?.heard["c"]?.at(-1), place);
    }
    scene.server.publish("a", 2);
    await scene.pass(100);
    assert.deepEqual(pages[2]?.heard, { a: [0, 1, 2], b: [0, 1], c: [0, 1] });
    for (const back of ["resume", "pageshow"]) pages[0]?.fire(back);
    await scene.pass(100);
    assert.deepEqual(pages[0]?.heard, { a: [0, 1, 2], b: [0, 1] });
    assert.equal(scene.server.connections(), 1);
  });
}

test("what a tab that is gone listened to is left", async () => {
  const scene = createScene(counting());
  const leader = scene.open();
  leader.listen("a");
  const other = scene.open();
  other.listen("a", "b");
  await scene.pass(100);
  other.client.close();
  await scene.pass(100);
  const [reader] = scene.server.readers;
  assert.deepEqual([...(reader?.channels.keys() ?? [])], ["a"]);
});

test("a leader that no longer answers is replaced while another tab is shown", async () => {
  const scene = createScene(counting());
  let isSuspended = false;
  const openBroadcast = (/** @type {string} */ name) => {
    const broadcast = scene.browser.openBroadcast(name);
    const { postMessage } = broadcast;
    broadcast.postMessage = (note) => void (isSuspended || postMessage(note));
    return broadcast;
  };
  const leader = scene.open({}, { openBroadcast });
  leader.listen("a");
  const hidden = scene.open();
  hidden.says.hidden = true;
  hidden.fire("visibilitychange");
  hidden.listen("a");
  await scene.pass(60_000);
  isSuspended = true;
  scene.server.publish("a", 1);
  await scene.pass(60_000);
  assert.deepEqual(hidden.heard, { a: [] }, "nobody sees that tab");
  hidden.says.hidden = false;
  hidden.fire("visibilitychange");
  await scene.pass(2_100);
  scene.server.publish("a", 2);
  await scene.pass(100);
  assert.deepEqual(hidden.heard, { a: [1, 2] });
  isSuspended = false;
  await scene.pass(60_000);
  scene.server.publish("a", 3);
  await scene.pass(100);
  assert.deepEqual([leader.heard, hidden.heard], [{ a: [1, 2, 3] }, { a: [1, 2, 3] }]);
  assert.equal(scene.server.connections(), 1);
  hidden.client.close();
  await scene.pass(100);
  scene.server.publish("a", 4);
  await scene.pass(100);
  assert.deepEqual(leader.heard, { a: [1, 2, 3, 4] });
  assert.equal(scene.server.connections(), 1);
});

test("a leader that answers is left alone", async () => {
  const scene = createScene(counting());
  const pages = [scene.open(), scene.open(), scene.open()];
  for (const page of pages) page.listen("a");
  await scene.pass(600_000);
  const sockets = scene.server.requests.filter(({ body }) => body.subscribe);
  assert.ok(sockets.length <= 2, "one, and one more for the tabs that came later");
});

test("a tab that comes later is told of a refusal, too", async () => {
  const scene = createScene(counting());
  scene.server.refused.set("a", 400);
  const first = scene.open();
  first.listen("a", "b");
  await scene.pass(100);
  const second = scene.open();
  second.listen("a", "b");
  await scene.pass(100);
  assert.deepEqual(second.heard, { a: [400], b: [] });
  assert.deepEqual(first.heard, { a: [400], b: [] });
});

test("a tab that is alone copies no message", async () => {
  const scene = createScene(counting());
  /** @type {string[]} */
  const notes = [];
  const openBroadcast = (/** @type {string} */ name) => {
    const broadcast = scene.browser.openBroadcast(name);
    return {
      ...broadcast,
      postMessage: (/** @type {any} */ note) => void notes.push(note.kind),
    };
  };
  const page = scene.open({}, { openBroadcast });
  page.listen("a");
  await scene.pass(100);
  scene.server.publish("a", 1);
  await scene.pass(100);
  assert.deepEqual(page.heard, { a: [1] });
  assert.ok(!notes.includes("items"));
});

test("the state of the connection is known in every tab", async () => {
  const scene = createScene(counting());
  const leader = scene.open({ transports: ["long-poll"] });
  leader.listen("a");
  await scene.pass(2_000);
  const other = scene.open();
  other.listen("a");
  await scene.pass(100);
  assert.equal(other.client.state, "open");
  scene.server.isDown = true;
  scene.server.cutAll();
  await scene.pass(10);
  assert.equal(other.client.state, "waiting");
});

test("the cheap poll waits until all tabs are hidden", async () => {
  const scene = createScene(counting());
  const pages = [scene.open(), scene.open()];
  for (const page of pages) page.listen("a");
  await scene.pass(100);
  for (const page of pages) {
    assert.deepEqual(
      scene.server.requests.filter(({ kind }) => kind === "long-poll"),
      [],
    );
    page.says.hidden = true;
    page.fire("visibilitychange");
    await scene.pass(61_000);
  }
  assert.equal(scene.server.requests.at(-1)?.kind, "long-poll");
});

test("tabs that come and go do not hurry a server that is down", async () => {
  const scene = createScene({ random: () => 1 });
  const leader = scene.open({ transports: ["long-poll"] });
  leader.listen("a");
  scene.server.isDown = true;
  await scene.pass(16_000); // tried at 0, 1, 3, 7 and 15 s; next at 31 s
  const count = scene.server.requests.length;
  for (let tab = 0; tab < 5; tab++) {
    const other = scene.open();
    other.says.hidden = tab % 2 === 0;
    other.fire("visibilitychange");
    await scene.pass(100);
    other.client.close();
    await scene.pass(100);
  }
  assert.equal(scene.server.requests.length, count);
});

function forbidden() {
  throw new Error("SecurityError");
}

test("off by one option, and by itself where the platform lacks it", async () => {
  for (const [config, platform] of /** @type {[any, any][]} */ ([
    [{ share: false }, {}],
    [{}, { locks: null }],
    [{}, { openBroadcast: null }],
    [{}, { openBroadcast: forbidden }],
  ])) {
    const scene = createScene(HALF);
    for (const page of [scene.open(config, platform), scene.open(config, platform)]) {
      page.listen("a");
    }
    await scene.pass(100);
    assert.equal(scene.server.connections(), 2);
  }
});

test("tabs of another group do not share", async () => {
  const scene = createScene(counting());
  for (const share of ["ann", "ann", "bob"]) scene.open({ share }).listen("a");
  await scene.pass(100);
  assert.equal(scene.server.connections(), 2);
});

test("where locks are refused each page leads itself", async () => {
  const scene = createScene(counting());
  const locks = { request: () => Promise.reject(new Error("SecurityError")) };
  const page = scene.open({}, { locks });
  page.listen("a");
  scene.server.publish("a", 1);
  await scene.pass(100);
  assert.deepEqual(page.heard, { a: [1] });
});

test("a tab whose own lock comes late is not taken for one that is gone", async () => {
  const scene = createScene(counting());
  const leader = scene.open();
  leader.listen("a");
  await scene.pass(100);
  scene.server.publish("a", 1);
  await scene.pass(100);
  const { locks } = scene.browser;
  const late = scene.open(
    {},
    {
      locks: {
        async request(name, options, fn) {
          for (let turn = 0; turn < 20; turn++) await null;
          return locks.request(name, options, fn);
        },
      },
    },
  );
  late.listen("a");
  await scene.pass(100);
  assert.deepEqual(late.heard, { a: [1] });
});

test("tabs that come and go at random hear each message once, in order", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const random = seeded(seed);
    const scene = createScene({ random });
    const names = ["a", "b", "c", "d"];
    const pages = Array.from({ length: 4 }, () => {
      const page = scene.open();
      page.listen(...names);
      return { page, away: false };
    });
    /** @type {Record<string, number[]>} */
    const sent = { a: [], b: [], c: [], d: [] };
    for (let count = 1; count <= 300; count++) {
      const name = names[Math.floor(random() * 4)] ?? "a";
      sent[name]?.push(count);
      scene.server.publish(name, count);
      if (random() < 0.1) {
        const one = pages[Math.floor(random() * 4)];
        one?.page.fire(one.away ? "resume" : "freeze");
        if (one) one.away = !one.away;
      }
      if (random() < 0.1) scene.server.cutAll();
      if (random() < 0.4) await scene.pass(random() * 200);
    }
    for (const { page } of pages) page.fire("resume");
    await scene.pass(60_000);
    for (const { page } of pages) {
      assert.deepEqual(page.heard, sent, `seed ${seed}`);
      assert.deepEqual(page.errors, []);
    }
    assert.equal(scene.server.connections(), 1, `seed ${seed}`);
  }
});
