import assert from "node:assert/strict";
import { test } from "node:test";

import { createCredentials } from "../src/credentials.js";
import { INTERVAL, POLL_DEADLINE, REFUSED_RETRY } from "../src/delays.js";
import { createLongPoll } from "../src/longpoll.js";
import { createWorld, cursorHeaders } from "./world.js";

const URL_A = "https://page.example/updates/a";

/**
 * @param {import("node:test").TestContext} t
 * @param {Partial<import("../src/longpoll.js").LongPollOptions>} [options]
 */
function createPolling(t, options = {}) {
  const world = createWorld(t);
  /** @type {string[]} */
  const seen = [];
  const poll = createLongPoll({
    url: URL_A,
    interval: INTERVAL,
    credentials: null,
    credentialsByOrigin: createCredentials(world.environment.baseURI),
    environment: world.environment,
    onMessage: (text) => seen.push(text),
    onGap: () => seen.push("gap"),
    onState: (state, status) => seen.push(`${state} ${status}`),
    ...options,
  });
  poll.start();
  return { world, poll, seen };
}

test("the first poll carries no cursor, no custom header and bypasses the cache", async (t) => {
  const { world } = createPolling(t);
  const { url, options } = await world.request(1);
  assert.equal(url, URL_A);
  assert.deepEqual(options.headers, {});
  assert.equal(options.cache, "no-store");
  assert.equal(options.credentials, "same-origin");
});

test("a message is delivered and the next poll asks for what follows it", async (t) => {
  const { world, seen } = createPolling(t);
  (await world.request(1)).message(1, 41);
  const { options } = await world.request(2);
  assert.deepEqual(seen, ["open 200", "1"]);
  assert.deepEqual(options.headers, {
    "If-None-Match": '"41-0"',
    "If-Modified-Since": "Thu, 01 Jan 1970 00:00:41 GMT",
  });
});

test("a poll that was held to its end is followed by the next at once, at its position", async (t) => {
  const { world } = createPolling(t);
  const first = await world.request(1);
  await world.pass(25_000);
  first.answer(304, cursorHeaders(7));
  const { options } = await world.request(2);
  assert.equal(options.headers["If-None-Match"], '"7-0"');
});

test("an immediate 304 is interval polling: the next poll waits", async (t) => {
  const { world } = createPolling(t, { interval: 5_000 });
  (await world.request(1)).answer(304, cursorHeaders(7));
  await world.pass(4_499);
  await world.request(1);
  await world.pass(1);
  await world.request(2);
});

test("messages of an interval location come without waiting between them", async (t) => {
  const { world, seen } = createPolling(t);
  (await world.request(1)).message("a", 1);
  (await world.request(2)).message("b", 2);
  (await world.request(3)).answer(304, cursorHeaders(2));
  await world.pass(INTERVAL);
  await world.request(4);
  assert.deepEqual(seen, ["open 200", '"a"', '"b"']);
});

for (const status of [400, 404, 409, 410, 429, 500, 502, 503, 204]) {
  test(`${status} is retried with back-off, and the cursor kept`, async (t) => {
    const { world, seen } = createPolling(t);
    (await world.request(1)).message(1, 1);
    (await world.request(2)).answer(status, cursorHeaders(9));
    await world.pass(499);
    await world.request(2);
    await world.pass(1);
    const retry = await world.request(3);
    assert.equal(retry.options.headers["If-None-Match"], '"1-0"');
    assert.deepEqual(seen, ["open 200", "1", `waiting ${status}`]);
  });
}

test("each failure in a row doubles the wait, an answer starts over", async (t) => {
  const { world } = createPolling(t);
  let count = 0;
  for (const delay of [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    (await world.request(++count)).fail();
    await world.pass(delay - 1);
    await world.request(count);
    await world.pass(1);
  }
  (await world.request(++count)).message(1, 1);
  (await world.request(++count)).fail();
  await world.pass(500);
  await world.request(++count);
});

test("Retry-After is obeyed", async (t) => {
  const { world } = createPolling(t);
  (await world.request(1)).answer(503, { "Retry-After": "40" });
  await world.pass(40_499);
  await world.request(1);
  await world.pass(1);
  await world.request(2);
});

test("Retry-After as a date is obeyed", async (t) => {
  const { world } = createPolling(t);
  const date = new Date(world.environment.now() + 40_000).toUTCString();
  (await world.request(1)).answer(503, { "Retry-After": date });
  await world.pass(40_499);
  await world.request(1);
  await world.pass(1);
  await world.request(2);
});

for (const status of [401, 403]) {
  test(`${status} is reported once and retried about once a minute`, async (t) => {
    const { world, seen } = createPolling(t);
    for (let count = 1; count <= 3; count++) {
      (await world.request(count)).answer(status);
      await world.pass(REFUSED_RETRY * 0.75 - 1);
      await world.request(count);
      await world.pass(1);
    }
    assert.deepEqual(seen, [`waiting ${status}`]);
    (await world.request(4)).message(1, 1);
    await world.request(5);
    assert.deepEqual(seen.slice(1), ["open 200", "1"]);
  });
}

test("another reason for waiting is reported too", async (t) => {
  const { world, seen } = createPolling(t);
  (await world.request(1)).fail();
  await world.pass(500);
  (await world.request(2)).answer(502);
  await world.pass(1_000);
  (await world.request(3)).answer(502);
  await world.pass(2_000);
  await world.request(4);
  assert.deepEqual(seen, ["waiting null", "waiting 502"]);
});

test("a poll that is being held counts as an open connection", async (t) => {
  const { world, seen } = createPolling(t);
  await world.pass(999);
  assert.deepEqual(seen, []);
  await world.pass(1);
  assert.deepEqual(seen, ["open null"]);
});

test("lost history is announced before the message that follows it", async (t) => {
  const { world, seen } = createPolling(t);
  const headers = { ...cursorHeaders(1), "X-Push-Gap": "1" };
  (await world.request(1)).answer(200, headers, "after");
  await world.request(2);
  assert.deepEqual(seen, ["open 200", "gap", "after"]);
});

test("a body that breaks off is no message: the same cursor asks again", async (t) => {
  const { world, seen } = createPolling(t);
  (await world.request(1)).breakOff(1);
  await world.pass(500);
  const again = await world.request(2);
  assert.deepEqual(again.options.headers, {});
  assert.deepEqual(seen, ["waiting null"]);
});

test("a 200 that is no new message is not delivered, not hammered, and warned of once", async (t) => {
  const { world, seen } = createPolling(t);
  (await world.request(1)).message(1, 1);
  (await world.request(2)).answer(200, {}, "<form>log in</form>");
  await world.pass(499);
  await world.request(2);
  await world.pass(1);
  (await world.request(3)).message(1, 1);
  await world.pass(1_000);
  await world.request(4);
  assert.deepEqual(seen, ["open 200", "1", "waiting 200"]);
  assert.equal(world.warnings().length, 1);
  assert.match(
    world.warnings()[0] ?? "",
    /updates\/a answers 200 without a new message/,
  );
});

test("a poll without any answer is given up after its deadline and sent again", async (t) => {
  const { world, seen } = createPolling(t);
  const first = await world.request(1);
  await world.pass(POLL_DEADLINE - 1);
  assert.equal(first.aborted, false);
  await world.pass(1);
  assert.equal(first.aborted, true);
  await world.request(2);
  assert.deepEqual(seen, ["open null"]);
});

test("stop aborts the poll and starts no other", async (t) => {
  const { world, poll, seen } = createPolling(t);
  const first = await world.request(1);
  poll.stop();
  assert.equal(first.aborted, true);
  await world.pass(1_000_000);
  await world.request(1);
  assert.deepEqual(seen, []);
});

test("a message that is under way while it stops is delivered after the next start", async (t) => {
  const { world, poll, seen } = createPolling(t);
  (await world.request(1)).message(1, 1);
  poll.stop();
  await world.pass(0);
  assert.deepEqual(seen, []);
  poll.start();
  const again = await world.request(2);
  assert.deepEqual(again.options.headers, {});
});

test("stopping ends a pause, and starting polls at once", async (t) => {
  const { world, poll } = createPolling(t);
  (await world.request(1)).answer(403);
  await world.pass(1);
  poll.stop();
  poll.start();
  await world.request(2);
  await world.pass(REFUSED_RETRY);
  await world.request(2);
});

test("started twice there is still one poll", async (t) => {
  const { world, poll } = createPolling(t);
  poll.start();
  await world.request(1);
});

test("a poll cut off while the page is left is no failure", async (t) => {
  const { world, poll, seen } = createPolling(t);
  const first = await world.request(1);
  poll.leave();
  first.fail();
  await world.pass(500);
  const second = await world.request(2);
  assert.deepEqual(seen, []);
  second.fail();
  await world.pass(500);
  await world.request(3);
  assert.deepEqual(seen, ["waiting null"]);
});

test("a page that stayed after all reports its next failure", async (t) => {
  const { world, poll, seen } = createPolling(t);
  poll.leave();
  (await world.request(1)).message(1, 1);
  (await world.request(2)).fail();
  await world.pass(0);
  assert.deepEqual(seen, ["open 200", "1", "waiting null"]);
});

test("another origin that takes no cookies is polled without, after two refusals", async (t) => {
  const { world, seen } = createPolling(t, { url: "https://push.example/updates/a" });
  const first = await world.request(1);
  assert.equal(first.options.credentials, "include");
  first.fail();
  const second = await world.request(2);
  assert.equal(second.options.credentials, "omit");
  second.message(1, 1);
  const third = await world.request(3);
  assert.equal(third.options.credentials, "include");
  third.fail();
  for (let count = 4; count <= 6; count++) {
    const request = await world.request(count);
    assert.equal(request.options.credentials, "omit");
    request.message(count, count);
  }
  await world.request(7);
  assert.deepEqual(seen, ["open 200", "1", "4", "5", "6"]);
});

test("another origin that is down is retried with back-off in both modes", async (t) => {
  const { world, seen } = createPolling(t, { url: "https://push.example/updates/a" });
  (await world.request(1)).fail();
  (await world.request(2)).fail();
  await world.pass(499);
  await world.request(2);
  await world.pass(1);
  const third = await world.request(3);
  assert.equal(third.options.credentials, "include");
  assert.deepEqual(seen, ["waiting null"]);
});

test("credentials that were asked for are used whatever happens", async (t) => {
  const { world } = createPolling(t, {
    url: "https://push.example/updates/a",
    credentials: "omit",
  });
  for (const [count, delay] of [500, 1_000].entries()) {
    const request = await world.request(count + 1);
    assert.equal(request.options.credentials, "omit");
    request.fail();
    await world.pass(delay);
  }
  await world.request(3);
});
