import assert from "node:assert/strict";
import { test } from "node:test";

import { earliest, isAfter, judge } from "../src/place.js";

test("ids are compared as numbers, time first", () => {
  assert.equal(isAfter("10-0", "9-5"), true);
  assert.equal(isAfter("9-10", "9-9"), true);
  assert.equal(isAfter("9-9", "9-9"), false);
  assert.equal(isAfter("1764339000000-0", "0"), true);
});

for (const [cursor, after, id, verdict] of /** @type {any[][]} */ ([
  [null, null, "3-0", "news"],
  [null, "2-0", "3-0", "seen"], // not its own beginning
  ["2-0", "2-0", "3-0", "news"],
  ["5-0", "2-0", "3-0", "seen"],
  ["5-0", "4-0", "6-0", "news"],
  ["2-0", "4-0", "6-0", "hole"],
  ["2-0", null, "6-0", "hole"], // the server chose where to begin
  ["8-0", null, "6-0", "seen"],
  ["9-0", "9-0", "3-0", "news"], // it was a cursor from the future
])) {
  test(`at ${cursor}, ${id} after ${after} is ${verdict}`, () => {
    assert.equal(judge(cursor, after, id), verdict);
  });
}

test("the wire stands at the earliest cursor, and who has none comes first", () => {
  assert.equal(earliest(["10-0", "9-3", "9-12"]), "9-3");
  assert.equal(earliest(["10-0", null]), null);
  assert.equal(earliest([]), null);
});
