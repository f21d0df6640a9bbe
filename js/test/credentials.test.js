import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { createCredentials } from "../src/credentials.js";

const OTHER = "https://push.example/updates/a";
/** @type {import("../src/credentials.js").Credentials} */
let credentials;

beforeEach(() => {
  credentials = createCredentials(() => "https://page.example/app/");
});

test("the page's own origin gets its cookies as ever", () => {
  assert.equal(credentials.modeFor("https://page.example/updates/a"), "same-origin");
  assert.equal(
    credentials.failed("https://page.example/updates/a", "same-origin"),
    false,
  );
});

test("another port is another origin", () => {
  assert.equal(credentials.modeFor("https://page.example:8001/updates/a"), "include");
});

test("what was answered with cookies stays with cookies", () => {
  credentials.modeFor(OTHER);
  credentials.answered(OTHER, "include");
  assert.equal(credentials.failed(OTHER, "include"), false);
  assert.equal(credentials.modeFor(OTHER), "include");
});

test("without an answer the other mode is tried at once, then the first again", () => {
  assert.equal(credentials.modeFor(OTHER), "include");
  assert.equal(credentials.failed(OTHER, "include"), true);
  assert.equal(credentials.modeFor(OTHER), "omit");
  assert.equal(credentials.failed(OTHER, "omit"), false);
  assert.equal(credentials.modeFor(OTHER), "include");
});

test("omit is kept only when include fails once more after omit worked", () => {
  credentials.modeFor(OTHER);
  credentials.failed(OTHER, "include");
  credentials.answered(OTHER, "omit");
  assert.equal(credentials.modeFor(OTHER), "include");
  assert.equal(credentials.failed(OTHER, "include"), true);
  assert.equal(credentials.modeFor(OTHER), "omit");
  assert.equal(credentials.failed(OTHER, "omit"), false);
  assert.equal(credentials.modeFor(OTHER), "omit");
});

test("a server that was only starting up does not leave the page anonymous", () => {
  credentials.modeFor(OTHER);
  credentials.failed(OTHER, "include");
  credentials.answered(OTHER, "omit");
  credentials.answered(OTHER, "include");
  credentials.failed(OTHER, "include");
  assert.equal(credentials.modeFor(OTHER), "include");
});

test("a late poll in the mode that was left says nothing", () => {
  credentials.modeFor(OTHER);
  credentials.failed(OTHER, "include");
  assert.equal(credentials.failed(OTHER, "include"), false);
  assert.equal(credentials.modeFor(OTHER), "omit");
});

test("all channels of an origin share the choice, other origins do not", () => {
  credentials.modeFor(OTHER);
  credentials.failed(OTHER, "include");
  assert.equal(credentials.modeFor("https://push.example/updates/b"), "omit");
  assert.equal(credentials.modeFor("https://elsewhere.example/updates/b"), "include");
});
