import { setImmediate as turnOfTheLoop } from "node:timers/promises";

import { createClock } from "./clock.js";

/**
 * The surroundings of a client under test: a server that answers when told, and a
 * clock that moves when told.
 * @typedef {ReturnType<typeof createWorld>} World
 * @typedef {World["requests"][number]} Request
 */

/**
 * @param {import("node:test").TestContext} t
 * @param {{ random?: () => number }} [options]
 */
export function createWorld(t, { random = () => 0.5 } = {}) {
  const clock = createClock();
  /** @type {ReturnType<typeof createRequest>[]} */
  const requests = [];
  /** @type {Map<string, Set<() => void>>} */
  const listeners = new Map();
  const page = { hidden: false, online: true };
  /** @type {Map<string, string>} */
  const stored = new Map();
  const console = { warn: t.mock.fn(), error: t.mock.fn() };

  /** @type {import("../src/environment.js").Environment} */
  const environment = {
    fetch: (url, options) => {
      const request = createRequest(url, options);
      requests.push(request);
      return request.response;
    },
    AbortController,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    random,
    now: clock.now,
    console,
    addEventListener: (type, fn) => {
      const those = listeners.get(type) ?? new Set();
      listeners.set(type, those.add(fn));
      return () => those.delete(fn);
    },
    openSocket: null,
    openBroadcast: null,
    locks: null,
    storage: () => ({
      getItem: (key) => stored.get(key) ?? null,
      setItem: (key, value) => void stored.set(key, value),
    }),
    isHidden: () => page.hidden,
    isOnline: () => page.online,
    baseURI: () => "https://page.example/app/",
  };

  return {
    environment,
    requests,
    console,
    /** Warnings and errors given so far, each as one line of text. */
    warnings: () => console.warn.mock.calls.map((call) => call.arguments.join(" ")),
    errors: () => console.error.mock.calls.map((call) => call.arguments.join(" ")),
    /** The newest request, which must be number `count` (from 1). @param {number} count */
    async request(count) {
      await turnOfTheLoop();
      const request = requests[count - 1];
      if (!request || requests.length !== count) {
        throw new Error(`expected ${count} requests, there were ${requests.length}`);
      }
      return request;
    },
    /** Let time pass, and all that follows from it happen. */
    pass: clock.pass,
    /** What the browser says of the page. */
    page,
    /** @param {string} type */
    fire(type) {
      const those = listeners.get(type);
      if (!those?.size) throw new Error(`nobody listens to ${type}`);
      for (const listener of [...those]) listener();
    },
  };
}

/**
 * @param {string} url
 * @param {import("../src/environment.js").RequestOptions} options
 */
function createRequest(url, options) {
  /** @type {(response: import("../src/environment.js").ResponseLike) => void} */
  let resolve;
  /** @type {(error: Error) => void} */
  let reject;
  /** @type {Promise<import("../src/environment.js").ResponseLike>} */
  const response = new Promise((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  options.signal.addEventListener("abort", () => reject(new Error("aborted")));
  return {
    url,
    options,
    response,
    get aborted() {
      return options.signal.aborted;
    },
    /** @param {number} status @param {Record<string, string>} [headers] @param {string} [body] */
    answer(status, headers = {}, body = "") {
      resolve({ status, headers: new Headers(headers), text: async () => body });
    },
    /** A message, and the cursor after it. @param {unknown} update @param {number} id */
    message(update, id) {
      this.answer(200, cursorHeaders(id), JSON.stringify(update));
    },
    /** Headers come, the body breaks off. @param {number} id */
    breakOff(id) {
      const headers = new Headers(cursorHeaders(id));
      resolve({ status: 200, headers, text: () => Promise.reject(new Error("cut")) });
    },
    /** No answer: the server is down, or CORS hides what it said. */
    fail() {
      reject(new TypeError("Failed to fetch"));
    },
  };
}

/** @param {number} id */
export function cursorHeaders(id) {
  return {
    ETag: `"${id}-0"`,
    "Last-Modified": new Date(id * 1_000).toUTCString(),
  };
}
