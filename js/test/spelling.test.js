import assert from "node:assert/strict";
import { test } from "node:test";

import { keyOf, names, spell } from "../src/spelling.js";

test("an id and a path that look alike are two channels", () => {
  assert.notEqual(keyOf({ channel: "/a" }), keyOf({ url: "/a" }));
});

test("any name comes through, on the way in and on the way out", () => {
  for (const name of ["a", "__proto__", "url:x", "id:", "ä/ß"]) {
    const keys = [keyOf({ channel: name }), keyOf({ url: name })];
    const asked = JSON.parse(
      JSON.stringify(spell(keys.map((key) => [key, { since: "1-0" }]))),
    );
    for (const kind of ["channels", "urls"]) {
      assert.deepEqual(Object.entries(asked[kind]), [[name, { since: "1-0" }]]);
    }
    assert.deepEqual(names(keys), { channels: [name], urls: [name] });
  }
});
