import assert from "node:assert/strict";
import { test } from "node:test";

import { createAlarm, parseEntries } from "../src/attempt.js";
import { pollAttempt } from "../src/pollattempt.js";
import { socketAttempt } from "../src/socketattempt.js";
import { streamAttempt } from "../src/streamattempt.js";
import { createScene } from "./scene.js";

/** @typedef {"onOpen" | "onEntries" | "onEnd"} Callback */

for (const [name, transport] of Object.entries({
  pollAttempt,
  streamAttempt,
  socketAttempt,
})) {
  /**
   * An attempt on a channel that has two messages; what it calls, until it is closed.
   * @param {Callback | null} last After which call it is closed.
   */
  async function run(last) {
    const scene = createScene();
    for (const value of [1, 2]) scene.server.publish("a", value);
    scene.server.maxEntries = 1;
    /** @type {string[]} */
    const calls = [];
    /** @param {Callback} callback */
    function note(callback) {
      return () => {
        calls.push(callback);
        if (callback === last) attempt.close();
      };
    }
    const attempt = transport({
      url: "https://page.example/updates",
      channels: { channels: { a: {} } },
      credentials: "same-origin",
      environment: scene.openUpdates().environment,
      onOpen: note("onOpen"),
      onEntries: note("onEntries"),
      onEnd: note("onEnd"),
    });
    assert.equal(calls.length, 0, "nothing comes before the attempt is known");
    await scene.pass(100);
    scene.server.endAll();
    await scene.pass(60_000);
    return { calls, scene };
  }

  test(`${name}: it is open before anything comes, and ends once`, async () => {
    const { calls } = await run(null);
    assert.equal(calls[0], "onOpen");
    assert.ok(calls.includes("onEntries"));
    assert.equal(calls.indexOf("onEnd"), calls.length - 1);
  });

  for (const last of /** @type {Callback[]} */ (["onOpen", "onEntries"])) {
    test(`${name}: closed in ${last}, nothing more comes`, async () => {
      const { calls, scene } = await run(last);
      assert.equal(calls.indexOf(last), calls.length - 1);
      assert.equal(scene.server.connections(), 0);
    });
  }
}

for (const transport of [pollAttempt, streamAttempt]) {
  test(`${transport.name}: a fetch that throws ends it, once it is known`, async () => {
    const scene = createScene();
    const environment = {
      ...scene.openUpdates().environment,
      fetch() {
        throw new TypeError("somebody's wrapper");
      },
    };
    /** @type {string[]} */
    const calls = [];
    transport({
      url: "https://page.example/updates",
      channels: { channels: { a: {} } },
      credentials: "same-origin",
      environment,
      onOpen: () => calls.push("onOpen"),
      onEntries: () => calls.push("onEntries"),
      onEnd: ({ kind }) => calls.push(kind),
    });
    assert.equal(calls.length, 0, "nothing comes before the attempt is known");
    await scene.pass(60_000);
    assert.deepEqual(calls, ["failed"]);
  });
}

test("what is no array of objects is no answer", () => {
  for (const text of ["", "<p>", "{}", "[1]", "[null]", "7"]) {
    assert.equal(parseEntries(text), null, text);
  }
  assert.deepEqual(parseEntries('[{"id": "1-0"}]'), [{ id: "1-0" }]);
});

test("an alarm rings once, at the time that was set last", async () => {
  const { clock, openUpdates } = createScene();
  const alarm = createAlarm(openUpdates().environment);
  /** @type {number[]} */
  const rung = [];
  for (const delay of [10, 20, 30]) alarm.set(delay, () => void rung.push(delay));
  await clock.pass(100);
  assert.deepEqual(rung, [30]);
  alarm.set(10, () => void rung.push(10));
  alarm.clear();
  await clock.pass(100);
  assert.deepEqual(rung, [30]);
});
