import assert from "node:assert/strict";
import { test } from "node:test";

import { createEventParser } from "../src/eventparser.js";

const STREAM =
  'retry: 900\nid: 1-0\n\n:\n\ndata: ["a"]\r\n\r\nevent: x\ndata:b\ndata: c\n\n';

test("a stream cut anywhere gives the same events", () => {
  for (let place = 0; place <= STREAM.length; place++) {
    const parser = createEventParser();
    const first = parser.push(STREAM.slice(0, place));
    const events = [...first, ...parser.push(STREAM.slice(place))];
    assert.deepEqual(events, ['["a"]', "b\nc"], `cut at ${place}`);
  }
});

test("an event that is not complete is no event", () => {
  assert.deepEqual(createEventParser().push("data: a\n"), []);
});
