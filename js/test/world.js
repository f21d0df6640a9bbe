import { setImmediate as turnOfTheLoop } from "node:timers/promises";

/**
 * The surroundings of a client under test: a server that answers when told, and a
 * clock that moves when told (node's mock timers).
 * @typedef {ReturnType<typeof createWorld>} World
 * @typedef {World["requests"][number]} Request
 */

/**
 * @param {import("node:test").TestContext} t
 * @param {{ random?: () => number }} [options]
 */
export function createWorld(t, { random = () => 0.5 } = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.UTC(2026, 0, 1) });
  /** @type {ReturnType<typeof createRequest>[]} */
  const requests = [];
  /** @type {Map<string, (event: { persisted?: boolean }) => void>} */
  const listeners = new Map();
  const console = { warn: t.mock.fn(), error: t.mock.fn() };

  /** @type {import("../src/environment.js").Environment} */
  const environment = {
    fetch: (url, options) => {
      const request = createRequest(url, options);
      requests.push(request);
      return request.response;
    },
    AbortController,
    setTimeout: (fn, delay) => setTimeout(fn, delay),
    clearTimeout: (timer) => clearTimeout(/** @type {NodeJS.Timeout} */ (timer)),
    random,
    now: () => Date.now(),
    console,
    addEventListener: (type, fn) => listeners.set(type, fn),
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
    /** Let time pass, and all that follows from it happen. @param {number} ms */
    async pass(ms) {
      // Pauses begin in promise reactions: let those of the last step run first.
      await turnOfTheLoop();
      t.mock.timers.tick(ms);
      await turnOfTheLoop();
    },
    /** @param {string} type @param {{ persisted?: boolean }} [event] */
    fire(type, event = {}) {
      const listener = listeners.get(type);
      if (!listener) throw new Error(`nobody listens to ${type}`);
      listener(event);
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
