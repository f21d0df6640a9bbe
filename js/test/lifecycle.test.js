import assert from "node:assert/strict";
import { test } from "node:test";

import { HIDDEN_AFTER, HIDDEN_PAUSE, SILENCE, TRANSPORT_RETRY } from "../src/delays.js";
import { createScene } from "./scene.js";

const HALF = { random: () => 0.5 };

/** @param {import("./scene.js").Scene} scene */
function kinds({ server }) {
  return server.requests.map(({ kind }) => kind);
}

test("a proxy that buffers makes the client poll within 5 s, and it loses nothing", async () => {
  const scene = createScene(HALF);
  scene.server.buffers = true;
  scene.server.refusesSockets = true;
  const page = scene.open();
  page.listen("a");
  scene.server.publish("a", 1);
  await scene.pass(5_000);
  assert.deepEqual(kinds(scene), [
    "websocket",
    "event-stream",
    "long-poll",
    "long-poll",
  ]);
  assert.deepEqual(page.heard, { a: [1] });
  assert.deepEqual(page.states, ["open 200"]);
});

test("what does not get through is tried again later, and once it works kept", async () => {
  const scene = createScene(HALF);
  scene.server.refusesSockets = true;
  scene.server.buffers = true;
  const page = scene.open();
  page.listen("a");
  await scene.pass(TRANSPORT_RETRY - 1_000);
  assert.equal(kinds(scene).filter((kind) => kind !== "long-poll").length, 2);
  scene.server.buffers = false;
  await scene.pass(60_000);
  assert.deepEqual(kinds(scene).slice(-2), ["websocket", "event-stream"]);
  scene.server.publish("a", 1);
  await scene.pass(10);
  assert.deepEqual(page.heard, { a: [1] });
  const count = scene.server.requests.length;
  await scene.pass(TRANSPORT_RETRY);
  assert.equal(scene.server.requests.length, count);
});

test("the next page of the same tab knows what does not get through", async () => {
  const scene = createScene(HALF);
  scene.server.refusesSockets = true;
  const page = scene.open({ share: false });
  page.listen("a");
  await scene.pass(100);
  page.fire("pagehide");
  const { storage } = page.environment;
  const next = scene.open({ share: false }, { storage });
  next.listen("a");
  await scene.pass(100);
  assert.deepEqual(kinds(scene), ["websocket", "event-stream", "event-stream"]);
});

for (const [what, storage] of /** @type {[string, any][]} */ ([
  ["no storage", () => null],
  [
    "a storage that is full",
    () => ({
      getItem: () => "{",
      setItem() {
        throw new Error("quota");
      },
    }),
  ],
])) {
  test(`with ${what} a fallback is remembered by the page alone`, async () => {
    const scene = createScene(HALF);
    scene.server.refusesSockets = true;
    const page = scene.open({}, { storage });
    page.listen("a");
    await scene.pass(100);
    scene.server.endAll();
    await scene.pass(1_000);
    assert.deepEqual(kinds(scene), ["websocket", "event-stream", "event-stream"]);
  });
}

test("a socket that neither opens nor fails is passed over", async () => {
  const scene = createScene(HALF);
  const nothing = () => ({
    send() {},
    close() {},
    onopen: null,
    onmessage: null,
    onclose: null,
  });
  const page = scene.open({}, { openSocket: nothing });
  page.listen("a");
  scene.server.publish("a", 1);
  await scene.pass(3_100);
  assert.deepEqual(page.heard, { a: [1] });
  assert.deepEqual(kinds(scene), ["event-stream"]);
});

for (const [code, state, wait] of /** @type {[number, string, number][]} */ ([
  [4000, "open null", 500], // the time is up: to come back
  [1001, "open null", 500], // the server goes away
  [1012, "open null", 500], // the server starts again
  [1006, "waiting null", 500], // cut
  [1008, "waiting 403", 45_000], // policy
  [1009, "waiting null", 500], // too big
  [1013, "waiting 503", 500], // try again later
  [4503, "waiting 503", 500], // the store does not answer
])) {
  test(`a socket that is closed with ${code}: ${state}, and again after ${wait} ms`, async () => {
    const scene = createScene(HALF);
    const page = scene.open({ transports: ["websocket"] });
    page.listen("a");
    await scene.pass(100);
    for (const reader of scene.server.readers) reader.closeWith?.(code);
    await scene.pass(wait - 1);
    assert.equal(page.states.at(-1), state);
    assert.equal(scene.server.connections(), 0);
    await scene.pass(10);
    assert.equal(scene.server.connections(), 1);
    assert.equal(page.states.at(-1), "open null");
  });
}

test("a server that is down is no fault of a transport", async () => {
  const scene = createScene(HALF);
  scene.server.isDown = true;
  const page = scene.open();
  page.listen("a");
  await scene.pass(5_000);
  assert.deepEqual(page.states, ["waiting null"]);
  scene.server.isDown = false;
  scene.server.requests.length = 0;
  scene.server.refusesSockets = false;
  await scene.pass(60_000);
  assert.equal(kinds(scene).at(-1), "websocket");
  assert.deepEqual(page.states, ["waiting null", "open null"]);
});

test("what is not offered, or in whose place a page stands, is passed over", async () => {
  for (const refusal of [
    { status: 406 },
    { status: 200, headers: { "Content-Type": "text/html" } },
  ]) {
    const scene = createScene(HALF);
    scene.server.refusal = refusal;
    scene.open({ transports: ["event-stream", "long-poll"] }).listen("a");
    await scene.pass(10);
    assert.deepEqual(kinds(scene), ["event-stream", "long-poll"]);
  }
});

test("a fetch that cannot stream is passed over", async () => {
  const scene = createScene(HALF);
  const fetch = async (/** @type {string} */ url, /** @type {any} */ options) => {
    const { body, ...response } = await scene.server.fetch(url, options);
    return response;
  };
  const page = scene.open({ transports: ["event-stream", "long-poll"] }, { fetch });
  page.listen("a");
  scene.server.publish("a", 1);
  await scene.pass(10);
  assert.deepEqual(page.heard, { a: [1] });
});

for (const kind of /** @type {const} */ (["event-stream", "websocket"])) {
  test(`${kind}: silence is a dead connection, and another is opened`, async () => {
    const scene = createScene(HALF);
    const page = scene.open({ transports: [kind] });
    page.listen("a");
    await scene.pass(100);
    const [dead] = scene.server.readers;
    assert.ok(dead);
    dead.send = () => {};
    scene.server.buffers = true; // the heartbeats of the stream go nowhere, too
    await scene.pass(10);
    scene.server.publish("a", 1);
    await scene.pass(SILENCE);
    scene.server.buffers = false;
    await scene.pass(5_000);
    assert.deepEqual(page.heard, { a: [1] });
    assert.equal(scene.server.connections(), 1);
  });
}

for (const status of [401, 403]) {
  for (const kind of /** @type {const} */ (["long-poll", "event-stream"])) {
    test(`${kind}: ${status} is reported once and asked for again about once a minute`, async () => {
      const scene = createScene(HALF);
      scene.server.refusal = { status };
      const page = scene.open({ transports: [kind] });
      /** @type {unknown[]} */
      const refusals = [];
      page.client.on("error", (refusal) => void refusals.push(refusal));
      page.listen("a");
      await scene.pass(100);
      page.fire("online");
      page.fire("visibilitychange");
      page.listen("b");
      await scene.pass(180_000);
      assert.deepEqual(page.states, [`waiting ${status}`]);
      assert.equal(scene.server.requests.length, 5);
      const reason = "the server refuses the request";
      assert.deepEqual(refusals, [{ channel: null, status, reason }]);
      scene.server.refusal = null;
      await scene.pass(60_000);
      assert.equal(page.client.state, "open");
    });
  }
}

test("Retry-After is obeyed, whatever the page does meanwhile", async () => {
  const scene = createScene(HALF);
  scene.server.refusal = { status: 503, headers: { "Retry-After": "40" } };
  const page = scene.open({ transports: ["event-stream"] });
  page.listen("a");
  await scene.pass(100);
  page.listen("b");
  page.fire("online");
  await scene.pass(40_000);
  assert.equal(scene.server.requests.length, 1);
  scene.server.refusal = null;
  await scene.pass(1_000);
  assert.equal(scene.server.requests.length, 2);
  const { body } = scene.server.requests[1] ?? {};
  assert.deepEqual(Object.keys(body.channels), ["a", "b"]);
});

test("failures in a row are tried again ever more slowly", async () => {
  const scene = createScene({ random: () => 1 });
  scene.server.isDown = true;
  scene.open({ transports: ["long-poll"] }).listen("a");
  await scene.pass(100);
  await scene.pass(61_000); // 1 + 2 + 4 + 8 + 16 + 30 s
  assert.equal(scene.server.requests.length, 7);
});

test("an answer starts over: the next failure is a first one", async () => {
  const scene = createScene({ random: () => 1 });
  const page = scene.open({ transports: ["long-poll"] });
  page.listen("a");
  scene.server.isDown = true;
  await scene.pass(5_000); // it has failed three times, at 0, 1 and 3 s
  scene.server.isDown = false;
  scene.server.publish("a", 1);
  await scene.pass(2_000);
  scene.server.isDown = true;
  scene.server.cutAll();
  scene.server.requests.length = 0;
  await scene.pass(3_001); // 1 + 2 s
  assert.equal(scene.server.requests.length, 2);
});

test("a poll that is answered at once and with nothing is not hammered", async () => {
  const scene = createScene(HALF);
  const page = scene.open({ transports: ["long-poll"] });
  page.listen("a");
  for (let time = 0; time < 60; time++) {
    await scene.pass(500);
    scene.server.endAll();
  }
  assert.ok(scene.server.requests.length < 12, `${scene.server.requests.length}`);
  assert.deepEqual(page.states, ["open 200"]);
});

test("a stream that opens and breaks off, again and again, is not hammered", async () => {
  const scene = createScene({ random: () => 1 });
  const fetch = (/** @type {string} */ url, /** @type {any} */ options) => {
    scene.clock.setTimeout(scene.server.cutAll, 10);
    return scene.server.fetch(url, options);
  };
  scene.open({ transports: ["event-stream"] }, { fetch }).listen("a");
  await scene.pass(120_000);
  assert.ok(scene.server.requests.length < 10, `${scene.server.requests.length}`);
});

test("offline says so at once, and back online goes on at once", async () => {
  for (const kind of /** @type {const} */ ([
    "long-poll",
    "event-stream",
    "websocket",
  ])) {
    const scene = createScene(HALF);
    const page = scene.open({ transports: [kind] });
    page.listen("a");
    await scene.pass(2_000);
    scene.server.isDown = true;
    page.says.online = false;
    page.fire("offline");
    assert.equal(page.client.state, "offline");
    assert.equal(scene.server.connections(), 0);
    scene.server.publish("a", 1);
    await scene.pass(10_000);
    scene.server.isDown = false;
    page.says.online = true;
    page.fire("online");
    await scene.pass(10);
    assert.deepEqual(page.heard, { a: [1] });
    assert.deepEqual(
      page.states.map((each) => each.split(" ")[0]),
      ["open", "offline", "connecting", "open"],
    );
  }
});

test("a browser that is wrong about being offline is not believed for long", async () => {
  const scene = createScene(HALF);
  const page = scene.open();
  page.listen("a");
  await scene.pass(100);
  page.fire("offline");
  scene.server.publish("a", 1);
  await scene.pass(60_000);
  assert.deepEqual(page.heard, { a: [1] });
  assert.equal(page.client.state, "open");
});

test("without a network a failure is called offline", async () => {
  const scene = createScene(HALF);
  scene.server.isDown = true;
  const page = scene.open({ transports: ["long-poll"] });
  page.says.online = false;
  page.listen("a");
  await scene.pass(100);
  assert.deepEqual(page.states, ["offline null"]);
});

test("a hidden page keeps one cheap poll, and resumes at once when it is shown", async () => {
  const scene = createScene(HALF);
  const page = scene.open();
  page.listen("a");
  await scene.pass(100);
  page.says.hidden = true;
  page.fire("visibilitychange");
  await scene.pass(HIDDEN_AFTER);
  assert.deepEqual(kinds(scene), ["websocket", "long-poll"]);
  for (let count = 1; count <= 10; count++) {
    scene.server.publish("a", count);
    await scene.pass(HIDDEN_PAUSE / 10);
  }
  assert.ok(kinds(scene).length <= 4, "what comes meanwhile comes together");
  page.says.hidden = false;
  page.fire("visibilitychange");
  await scene.pass(10);
  assert.equal(kinds(scene).at(-1), "websocket");
  assert.deepEqual(page.heard, { a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] });
});

test("a page that was hidden only for a moment keeps its connection", async () => {
  const scene = createScene(HALF);
  const page = scene.open();
  page.listen("a");
  await scene.pass(100);
  for (const hidden of [true, false]) {
    page.says.hidden = hidden;
    page.fire("visibilitychange");
    await scene.pass(HIDDEN_AFTER - 1);
  }
  assert.deepEqual(kinds(scene), ["websocket"]);
});

test("a hidden page whose server is down resumes at once when it is shown", async () => {
  const scene = createScene({ random: () => 1 });
  const page = scene.open({ transports: ["long-poll"] });
  page.listen("a");
  await scene.pass(100);
  page.says.hidden = true;
  page.fire("visibilitychange");
  scene.server.isDown = true;
  scene.server.cutAll();
  await scene.pass(100_000);
  scene.server.isDown = false;
  scene.server.publish("a", 1);
  page.says.hidden = false;
  page.fire("visibilitychange");
  await scene.pass(10);
  assert.deepEqual(page.heard, { a: [1] });
});

for (const [gone, back] of /** @type {const} */ ([
  ["pagehide", "pageshow"],
  ["freeze", "resume"],
  ["freeze", "visibilitychange"],
])) {
  test(`${gone} ends the connection quietly, and ${back} goes on where it was`, async () => {
    for (const share of [true, false]) {
      const scene = createScene(HALF);
      const page = scene.open({ share });
      page.listen("a");
      await scene.pass(100);
      scene.server.publish("a", 1);
      await scene.pass(10);
      page.fire("beforeunload");
      page.fire(gone);
      page.fire(gone);
      await scene.pass(1_000);
      assert.equal(scene.server.connections(), 0);
      scene.server.publish("a", 2);
      page.listen("b");
      page.fire(back);
      page.fire(back);
      await scene.pass(100);
      scene.server.publish("b", 3);
      await scene.pass(100);
      assert.deepEqual(page.heard, { a: [1, 2], b: [3] });
      assert.equal(scene.server.connections(), 1);
      assert.deepEqual(page.states, ["open null"]);
      assert.deepEqual(page.errors, []);
    }
  });
}

test("a request that is cut off as the page goes is no failure", async () => {
  const scene = createScene(HALF);
  const page = scene.open({ transports: ["long-poll"] });
  page.listen("a");
  await scene.pass(2_000);
  page.fire("beforeunload");
  scene.server.cutAll();
  await scene.pass(10);
  assert.deepEqual(page.states, ["open null"]);
  await scene.pass(1_000);
  scene.server.cutAll();
  await scene.pass(10);
  assert.deepEqual(page.states, ["open null", "waiting null"]);
});

test("an expired token is renewed at once, a refusal of every token is not hammered", async () => {
  const scene = createScene(HALF);
  scene.server.tokens.set("a", "t2");
  let count = 0;
  /** @type {unknown[]} */
  const asked = [];
  const page = scene.open({
    token: async (channel, refusal) => {
      asked.push([channel, refusal?.status]);
      return channel === "b" ? undefined : `t${++count}`;
    },
  });
  page.listen("a", "b");
  await scene.pass(1_000);
  scene.server.publish("a", 1);
  scene.server.publish("b", 2);
  await scene.pass(100);
  assert.deepEqual(page.heard, { a: [403, 1], b: [2] });
  assert.deepEqual(asked, [
    ["a", undefined],
    ["b", undefined],
    ["a", 403],
  ]);
  scene.server.tokens.set("a", "never");
  scene.server.cutAll();
  await scene.pass(300_000);
  assert.deepEqual(page.heard["a"], [403, 1, 403]);
  assert.ok(count < 12, `${count} tokens in five minutes`);
});

test("a token that cannot be had is reported, and the channel asked for without", async () => {
  const scene = createScene(HALF);
  const page = scene.open({ token: () => Promise.reject(new Error("no")) });
  page.listen("a");
  scene.server.publish("a", 1);
  await scene.pass(100);
  assert.deepEqual(page.heard, { a: [1] });
  assert.match(String(page.errors), /no token/);
});

test("closed is closed: no connection, no message, no state after it", async () => {
  const scene = createScene(HALF);
  const page = scene.open();
  page.listen("a");
  await scene.pass(100);
  page.client.close();
  scene.server.publish("a", 1);
  page.fire("pageshow");
  await scene.pass(1_000);
  assert.deepEqual(page.heard, { a: [] });
  assert.equal(scene.server.connections(), 0);
  assert.equal(page.client.state, "closed");
  assert.equal(page.states.at(-1), "closed null");
});

test("a page that comes and goes listens to the browser only once", async () => {
  const scene = createScene(HALF);
  const page = scene.open({ share: false });
  for (let time = 0; time < 3; time++) {
    page.fire("pagehide");
    page.fire("pageshow");
  }
  for (const type of ["online", "offline", "beforeunload", "visibilitychange"]) {
    assert.equal(page.listening(type), 1, type);
  }
  page.client.close();
  for (const type of ["online", "pageshow"]) assert.equal(page.listening(type), 0);
});

test("no channel, no connection", async () => {
  const scene = createScene(HALF);
  const page = scene.open();
  await scene.pass(1_000);
  assert.equal(scene.server.requests.length, 0);
  const [a] = page.listen("a");
  await scene.pass(100);
  a?.close();
  await scene.pass(100);
  assert.equal(scene.server.connections(), 0);
});

test("a handler that throws harms nobody, and one that is closed hears no more", async () => {
  const scene = createScene(HALF);
  const page = scene.open();
  page.client.subscribe("a", (value) => {
    if (value === 2) mine?.close();
    throw new Error("oops");
  });
  const [mine] = page.listen("a");
  page.listen("b");
  await scene.pass(100);
  for (const value of [1, 2]) scene.server.publish("a", value);
  scene.server.publish("b", 3);
  await scene.pass(100);
  assert.deepEqual(page.heard, { a: [1], b: [3] });
  assert.equal(page.errors.length, 2);
});
