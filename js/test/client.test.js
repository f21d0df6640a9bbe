import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "../src/client.js";
import { createScene } from "./scene.js";

/** A client whose link is the test's own. */
function create() {
  /** @type {[string, string | null][]} */
  const wants = [];
  /** @type {import("../src/client.js").LinkEvents | undefined} */
  let events;
  const { environment } = createScene().openUpdates();
  const client = createClient({
    environment,
    createLink(given) {
      events = given;
      return {
        start() {},
        stop() {},
        want: (all) =>
          wants.push(
            ...all.map(([key, { since }]) => /** @type {any} */ ([key, since])),
          ),
        drop() {},
        setHidden() {},
      };
    },
  });
  /** @type {unknown[]} */
  const heard = [];
  client.subscribe("id:a", "a", null, { onMessage: (data) => void heard.push(data) });
  return {
    wants,
    heard,
    client,
    /** @param {string | null} after @param {string} id */
    item(after, id) {
      const entry = { channel: "a", id, type: null, text: id };
      events?.onItems([{ key: "id:a", after, entry }]);
    },
  };
}

test("a hole is asked for once, and again when there is another", () => {
  const { item, wants, heard } = create();
  item(null, "1-0");
  for (const [after, id] of [
    ["3-0", "4-0"],
    ["4-0", "5-0"],
  ])
    item(after ?? null, id ?? "");
  assert.deepEqual(wants, [
    ["id:a", null],
    ["id:a", "1-0"],
  ]);
  for (const [after, id] of [
    ["1-0", "2-0"],
    ["2-0", "4-0"],
  ])
    item(after ?? null, id ?? "");
  item("5-0", "6-0");
  assert.deepEqual(wants.slice(2), [["id:a", "4-0"]]);
  assert.deepEqual(heard, ["1-0", "2-0", "4-0"]);
});

test("what comes twice is heard once", () => {
  const { item, heard } = create();
  for (const id of ["1-0", "1-0", "2-0"]) item(null, id);
  for (const id of ["1-0", "2-0", "3-0"]) item("0-0", id);
  assert.deepEqual(heard, ["1-0", "2-0", "3-0"]);
});
