import assert from "node:assert/strict";
import { test } from "node:test";

import {
  REFUSED_RETRY,
  RETRY_AFTER_CAP,
  RETRY_BASE,
  RETRY_CAP,
  backOff,
  delayAfterFailure,
  nextInterval,
  parseRetryAfter,
} from "../src/delays.js";

const NOW = Date.UTC(2026, 0, 1);
const MOST = () => 1;
const LEAST = () => 0;

test("the back-off doubles up to its cap", () => {
  const longest = [1, 2, 3, 4, 5, 6, 7, 5_000].map((n) => backOff(n, MOST));
  assert.deepEqual(
    longest,
    [1, 2, 4, 8, 16, 30, 30, 30].map((n) => n * RETRY_BASE),
  );
  assert.equal(longest.at(-1), RETRY_CAP);
});

test("the jitter is full: any delay from nothing to the cap", () => {
  assert.equal(backOff(9, LEAST), 0);
  assert.equal(
    backOff(9, () => 0.25),
    RETRY_CAP / 4,
  );
});

test("Retry-After is a minimum, and the jitter comes on top", () => {
  const failure = { status: 503, failures: 1, retryAfter: 7_000 };
  assert.equal(delayAfterFailure({ ...failure, random: LEAST }), 7_000);
  assert.equal(delayAfterFailure({ ...failure, random: MOST }), 8_000);
});

for (const status of [401, 403]) {
  test(`${status} is retried slowly from the first time on`, () => {
    const failure = { status, failures: 1, retryAfter: 0 };
    assert.equal(delayAfterFailure({ ...failure, random: LEAST }), REFUSED_RETRY / 2);
    assert.equal(delayAfterFailure({ ...failure, random: MOST }), REFUSED_RETRY);
  });
}

test("interval polls are spread over 80 to 100 percent", () => {
  assert.equal(nextInterval(1_000, LEAST), 800);
  assert.equal(nextInterval(1_000, MOST), 1_000);
});

test("Retry-After is read as seconds or as an HTTP date", () => {
  assert.equal(parseRetryAfter("12", NOW), 12_000);
  assert.equal(parseRetryAfter("Thu, 01 Jan 2026 00:01:00 GMT", NOW), 60_000);
});

test("a Retry-After that is absent, past or unreadable asks for nothing", () => {
  for (const value of [null, "", "soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT"]) {
    assert.equal(parseRetryAfter(value, NOW), 0, String(value));
  }
});

test("a Retry-After beyond reason is capped, not overflowed", () => {
  const date = "Fri, 01 Jan 2100 00:00:00 GMT";
  for (const value of ["9".repeat(400), "99999999", date]) {
    assert.equal(parseRetryAfter(value, NOW), RETRY_AFTER_CAP);
  }
});
