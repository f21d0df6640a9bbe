import assert from "node:assert/strict";
import { test } from "node:test";

import { createChoice } from "../src/choice.js";
import { TRANSPORT_RETRY, TRANSPORT_RETRY_CAP } from "../src/delays.js";
import { createScene } from "./scene.js";

/** @type {import("../src/attempt.js").TransportName[]} */
const OFFERED = ["websocket", "event-stream", "long-poll"];
const URL = "https://page.example/updates";

function create() {
  const scene = createScene();
  const { environment } = scene.openUpdates();
  const choice = createChoice(OFFERED, URL, environment);
  return { ...scene, environment, choice };
}

test("the first that gets through is used, and the others are passed over for a while", async () => {
  const { choice, pass } = create();
  assert.equal(choice.pick(false), "websocket");
  assert.equal(choice.suspect("websocket"), true);
  assert.equal(choice.pick(false), "event-stream");
  choice.worked("event-stream");
  assert.equal(choice.pick(false), "event-stream");
  await pass(TRANSPORT_RETRY);
  assert.equal(choice.pick(false), "websocket");
});

test("each further time it takes twice as long, up to a cap", async () => {
  const { choice, pass } = create();
  const waits = [1, 2, 4, 8, 12, 12].map((times) => times * TRANSPORT_RETRY);
  assert.equal(waits.at(-1), TRANSPORT_RETRY_CAP);
  for (const wait of waits) {
    choice.suspect("websocket");
    choice.worked("event-stream");
    await pass(wait - 1);
    assert.equal(choice.pick(false), "event-stream");
    await pass(1);
    assert.equal(choice.pick(false), "websocket");
  }
});

test("what works again has no past", async () => {
  const { choice, pass } = create();
  for (let time = 0; time < 3; time++) {
    choice.suspect("websocket");
    choice.worked("event-stream");
    await pass(TRANSPORT_RETRY_CAP);
  }
  choice.suspect("event-stream");
  choice.worked("websocket");
  choice.suspect("websocket");
  choice.worked("long-poll");
  await pass(TRANSPORT_RETRY);
  assert.equal(choice.pick(false), "websocket");
});

test("when none is left all begin anew, and nothing is remembered", () => {
  const { choice, environment } = create();
  assert.deepEqual(OFFERED.map(choice.suspect), [true, true, false]);
  assert.equal(choice.pick(false), "websocket");
  choice.suspect("websocket");
  choice.absolve();
  choice.worked("event-stream");
  assert.equal(createChoice(OFFERED, URL, environment).pick(false), "websocket");
});

test("a fallback is known to the next page, for this URL", () => {
  const { choice, environment } = create();
  choice.suspect("websocket");
  choice.worked("event-stream");
  assert.equal(createChoice(OFFERED, URL, environment).pick(false), "event-stream");
  assert.equal(createChoice(OFFERED, `${URL}/2`, environment).pick(false), "websocket");
});

test("the cheap one is the long poll, where there is one", () => {
  const { choice, environment } = create();
  assert.equal(choice.pick(true), "long-poll");
  assert.equal(createChoice(["websocket"], URL, environment).pick(true), "websocket");
});
