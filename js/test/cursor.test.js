import assert from "node:assert/strict";
import { test } from "node:test";

import { NO_CURSOR, cursorAfter, isNews, requestHeaders } from "../src/cursor.js";

const DATE = "Thu, 01 Jan 2026 00:00:00 GMT";

test("no cursor is no header", () => {
  assert.deepEqual(requestHeaders(NO_CURSOR), {});
});

test("a cursor goes back as it came", () => {
  const cursor = cursorAfter(
    NO_CURSOR,
    new Headers({ ETag: '"5-1"', "Last-Modified": DATE }),
  );
  assert.deepEqual(requestHeaders(cursor), {
    "If-None-Match": '"5-1"',
    "If-Modified-Since": DATE,
  });
});

for (const [header, etag] of /** @type {[string, string][]} */ ([
  ['no-store, etag="5-1"', '"5-1"'],
  ["etag=17", "17"],
  ['no-store,ETag=W/"5-1", private', 'W/"5-1"'],
])) {
  test(`a tag that may not be read is found in Cache-Control: ${header}`, () => {
    const headers = new Headers({ "Cache-Control": header, "Last-Modified": DATE });
    assert.deepEqual(cursorAfter(NO_CURSOR, headers), { etag, lastModified: DATE });
  });
}

test("an ETag that can be read wins over Cache-Control", () => {
  const headers = new Headers({ ETag: '"new"', "Cache-Control": 'etag="old"' });
  assert.equal(cursorAfter(NO_CURSOR, headers).etag, '"new"');
});

test("an answer without cursor leaves the cursor as it was", () => {
  const cursor = { etag: '"5-1"', lastModified: DATE };
  const headers = new Headers({ "Cache-Control": "no-store, x-etag=3" });
  assert.equal(cursorAfter(cursor, headers), cursor);
});

test("a tag never travels with the date of another answer", () => {
  const cursor = { etag: '"5-1"', lastModified: DATE };
  const later = "Thu, 01 Jan 2026 00:00:09 GMT";
  assert.deepEqual(cursorAfter(cursor, new Headers({ "Last-Modified": later })), {
    etag: null,
    lastModified: later,
  });
});

test("an answer is news when it is dated and not where the cursor stands", () => {
  const cursor = { etag: '"5-1"', lastModified: DATE };
  assert.equal(
    isNews(cursor, new Headers({ ETag: '"5-2"', "Last-Modified": DATE })),
    true,
  );
  assert.equal(
    isNews(cursor, new Headers({ ETag: '"5-1"', "Last-Modified": DATE })),
    false,
  );
  assert.equal(isNews(NO_CURSOR, new Headers({ ETag: '"a login page"' })), false);
  assert.equal(isNews(NO_CURSOR, new Headers()), false);
});
