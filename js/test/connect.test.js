import assert from "node:assert/strict";
import { test } from "node:test";

import { createScene, seeded } from "./scene.js";

/** @type {import("../src/attempt.js").TransportName[]} */
const TRANSPORTS = ["long-poll", "event-stream", "websocket"];
const HALF = { random: () => 0.5 };

test("websocket: a channel that is heard again is asked for on another socket", async () => {
  const scene = createScene(HALF);
  const page = scene.open({ transports: ["websocket"] });
  const [a] = page.listen("a", "b");
  await scene.pass(100);
  const [socket] = scene.server.readers;
  a?.close();
  page.listen("c");
  await scene.pass(100);
  assert.deepEqual([...scene.server.readers], [socket]);
  assert.deepEqual([...(socket?.channels.keys() ?? [])], ["b", "c"]);
  page.listen("a");
  await scene.pass(100);
  assert.notDeepEqual([...scene.server.readers], [socket]);
  assert.equal(scene.server.connections(), 1);
});

test("websocket: a channel that was refused is asked for again on the same socket", async () => {
  const scene = createScene(HALF);
  scene.server.refused.set("a", 404);
  const page = scene.open({ transports: ["websocket"] });
  page.listen("a", "b");
  await scene.pass(100);
  const sockets = [...scene.server.readers];
  scene.server.refused.clear();
  scene.server.publish("a", 1);
  await scene.pass(1_000);
  assert.deepEqual(page.heard, { a: [404, 1], b: [] });
  assert.deepEqual([...scene.server.readers], sockets);
});

test("a channel whose request was wrong is not asked for again", async () => {
  const scene = createScene(HALF);
  scene.server.refused.set("a", 400);
  const page = scene.open({ transports: ["websocket"] });
  page.listen("a", "b");
  await scene.pass(3_600_000);
  assert.deepEqual(page.heard, { a: [400], b: [] });
  assert.equal(scene.server.requests.length, 1);
});

for (const name of TRANSPORTS) {
  test(`${name}: messages of many channels come once, in order, over one connection`, async () => {
    const scene = createScene(HALF);
    scene.server.publish("a", 1);
    const page = scene.open({ transports: [name] });
    page.listen("a", "b", "c");
    await scene.pass(2_000);
    assert.equal(scene.server.connections(), 1);
    scene.server.publish("b", 2);
    scene.server.publish("a", 3);
    await scene.pass(100);
    scene.server.publish("b", 4);
    await scene.pass(100);
    assert.deepEqual(page.heard, { a: [1, 3], b: [2, 4], c: [] });
    assert.deepEqual(page.states, [`open ${name === "websocket" ? null : 200}`]);
    assert.equal(scene.server.connections(), 1);
  });

  test(`${name}: what was published since the page was made comes, and nothing before`, async () => {
    const scene = createScene(HALF);
    scene.server.publish("a", "shown");
    const since = scene.server.publish("a", "shown too");
    scene.server.publish("a", "in between");
    const page = scene.open({ transports: [name], channels: { a: { since } } });
    page.listen("a");
    await scene.pass(100);
    assert.deepEqual(page.heard, { a: ["in between"] });
  });

  test(`${name}: a channel that is added at any time is heard at once`, async () => {
    const scene = createScene(HALF);
    const page = scene.open({ transports: [name] });
    page.listen("a");
    await scene.pass(2_000);
    scene.server.publish("b", "before");
    page.listen("b", { url: "/other/%C3%A4" });
    await scene.pass(50);
    assert.deepEqual(page.heard["b"], ["before"]);
    scene.server.publish("a", 1);
    scene.server.publish("/other/%C3%A4", 2);
    await scene.pass(50);
    assert.deepEqual(page.heard, { a: [1], b: ["before"], "/other/%C3%A4": [2] });
    assert.equal(scene.server.connections(), 1);
  });

  test(`${name}: a channel that is left is not heard, and goes on where it was left`, async () => {
    const scene = createScene(HALF);
    const page = scene.open({ transports: [name] });
    const [a] = page.listen("a", "b");
    await scene.pass(50);
    scene.server.publish("a", 1);
    await scene.pass(50);
    a?.close();
    a?.close();
    scene.server.publish("a", 2);
    scene.server.publish("b", 3);
    await scene.pass(50);
    assert.deepEqual(page.heard, { a: [1], b: [3] });
    page.listen("a");
    await scene.pass(50);
    assert.deepEqual(page.heard["a"], [1, 2]);
  });

  test(`${name}: cut at random, restarted and trimmed, each message comes once and in order`, async () => {
    for (let seed = 1; seed <= 8; seed++) {
      const random = seeded(seed);
      const scene = createScene({ random });
      const page = scene.open({ transports: [name] });
      const names = Array.from({ length: 20 }, (_, place) => `c${place}`);
      page.listen(...names);
      await scene.pass(100);
      /** @type {Record<string, number[]>} */
      const sent = Object.fromEntries(names.map((each) => [each, []]));
      for (let count = 1; count <= 1_000; count++) {
        const channel = `c${Math.floor(random() * 20)}`;
        sent[channel]?.push(count);
        scene.server.publish(channel, count);
        if (count % 20 === 0) scene.server.cutAll();
        if (count % 70 === 0) scene.server.endAll();
        if (count === 300 || count === 600) scene.server.isDown = true;
        if (count === 330 || count === 630) scene.server.isDown = false;
        if (random() < 0.5) await scene.pass(random() * 300);
      }
      await scene.pass(120_000);
      assert.deepEqual(page.heard, sent, `seed ${seed}`);
      assert.equal(scene.server.connections(), 1);
      assert.deepEqual(page.errors, []);
    }
  });

  test(`${name}: lost history is told before the next message`, async () => {
    const scene = createScene(HALF);
    const page = scene.open({ transports: [name] });
    /** @type {string[]} */
    const gaps = [];
    page.client.on("gap", ({ channel }) => void gaps.push(channel));
    page.listen("a", "b");
    await scene.pass(50);
    scene.server.publish("a", 1);
    await scene.pass(50);
    scene.server.isDown = true;
    scene.server.cutAll();
    for (const value of [2, 3, 4]) scene.server.publish("a", value);
    scene.server.trim("a", 1);
    scene.server.isDown = false;
    await scene.pass(60_000);
    assert.deepEqual(page.heard, { a: [1, "gap", 4], b: [] });
    assert.deepEqual(gaps, ["a"]);
  });

  test(`${name}: a refused channel is told once and asked for again, and ends no other`, async () => {
    const scene = createScene(HALF);
    scene.server.refused.set("a", 404);
    const page = scene.open({ transports: [name] });
    page.listen("a", "b");
    await scene.pass(10_000);
    scene.server.publish("b", 1);
    scene.server.refused.clear();
    scene.server.publish("a", 2);
    await scene.pass(30_000);
    assert.deepEqual(page.heard, { a: [404, 2], b: [1] });
  });

  test(`${name}: a deleted channel is told, and heard when it is there again`, async () => {
    const scene = createScene(HALF);
    const page = scene.open({ transports: [name] });
    page.listen("a", "b");
    await scene.pass(50);
    scene.server.forget("a");
    await scene.pass(2_000);
    scene.server.publish("a", "again");
    scene.server.publish("b", 1);
    await scene.pass(50);
    assert.deepEqual(page.heard, { a: [410, "again"], b: [1] });
  });

  test(`${name}: a cursor from the future is where the channel really stands`, async () => {
    const scene = createScene(HALF);
    scene.server.publish("a", "old");
    const since = "9999999999999-0";
    const page = scene.open({ transports: [name] });
    page.listen({ channel: "a", since });
    await scene.pass(50);
    scene.server.publish("a", 1);
    scene.server.publish("a", 2);
    await scene.pass(50);
    assert.deepEqual(page.heard, { a: [1, 2] });
  });

  test(`${name}: text, binary and null come as what they are`, async () => {
    const scene = createScene(HALF);
    const page = scene.open({ transports: [name] });
    page.listen("a");
    /** @type {any[]} */
    const messages = [];
    page.client.on("message", (message) => void messages.push(message));
    const text = { type: "text/plain", text: "ä\n", event: "hello" };
    const id = scene.server.publish("a", null, text);
    scene.server.publish("a", null, { type: "image/png", base64: "AP8=" });
    scene.server.publish("a", null);
    await scene.pass(50);
    assert.deepEqual(page.heard["a"], ["ä\n", new Uint8Array([0, 255]), null]);
    const expected = {
      channel: "a",
      id,
      type: "text/plain",
      data: "ä\n",
      event: "hello",
    };
    assert.deepEqual(messages[0], expected);
  });
}
