import { connect } from "../src/connect.js";
import { createUpdates } from "../src/updates.js";
import { createClock } from "./clock.js";
import { createBrowser, createServer } from "./pushserver.js";

/**
 * Pages of one browser, and the push server that they listen to.
 * @typedef {ReturnType<typeof createScene>} Scene
 * @typedef {ReturnType<Scene["open"]>} Page
 */

/** @param {{ random?: () => number }} [options] */
export function createScene({ random = Math.random } = {}) {
  const clock = createClock();
  const server = createServer(clock);
  const browser = createBrowser();
  return { clock, server, browser, pass: clock.pass, open, openUpdates };

  /** @param {Partial<import("../src/environment.js").Environment>} platform */
  function createPage(platform) {
    /** @type {Map<string, Set<() => void>>} */
    const listeners = new Map();
    /** @type {Map<string, string>} */
    const stored = new Map();
    const says = { hidden: false, online: true };
    /** @type {string[]} */
    const errors = [];
    const note = (/** @type {unknown[]} */ ...all) => void errors.push(all.join(" "));
    /** @type {import("../src/environment.js").Environment} */
    const environment = {
      fetch: server.fetch,
      AbortController,
      openSocket: server.openSocket,
      ...browser,
      storage: () => ({
        getItem: (key) => stored.get(key) ?? null,
        setItem: (key, value) => void stored.set(key, value),
      }),
      setTimeout: clock.setTimeout,
      clearTimeout: clock.clearTimeout,
      random,
      now: clock.now,
      console: { warn: note, error: note },
      addEventListener(type, fn) {
        const those = listeners.get(type) ?? new Set();
        listeners.set(type, those.add(fn));
        return () => those.delete(fn);
      },
      isHidden: () => says.hidden,
      isOnline: () => says.online,
      baseURI: () => "https://page.example/app/",
      ...platform,
    };
    /** @param {string} type */
    const fire = (type) => {
      for (const fn of [...(listeners.get(type) ?? [])]) fn();
    };
    /** @param {string} type */
    const listening = (type) => listeners.get(type)?.size ?? 0;
    return { environment, says, errors, fire, listening };
  }

  /** A page with `$.updates`. */
  function openUpdates() {
    const page = createPage({});
    return { ...page, updates: createUpdates(page.environment) };
  }

  /**
   * A page, and all that it hears.
   * @param {Partial<import("../src/connect.js").Config>} [config]
   * @param {Partial<import("../src/environment.js").Environment>} [platform]
   */
  function open(config = {}, platform = {}) {
    const page = createPage(platform);
    const { environment } = page;
    const client = connect({ multiplex: "/updates", ...config }, environment);
    /** What came, by channel: data, "gap" or the status of an error. */
    /** @type {Record<string, any[]>} */
    const heard = {};
    /** @type {string[]} */
    const states = [];
    client.on("state", ({ state, status }) => void states.push(`${state} ${status}`));

    return {
      ...page,
      client,
      heard,
      states,
      /** @param {import("../src/connect.js").ChannelSpec[]} specs */
      listen(...specs) {
        return specs.map((spec) => {
          const name =
            typeof spec === "string" ? spec : "url" in spec ? spec.url : spec.channel;
          const list = (heard[name] ??= []);
          return client.subscribe(spec, {
            onMessage: (data) => void list.push(data),
            onGap: () => void list.push("gap"),
            onError: ({ status }) => void list.push(status),
          });
        });
      },
    };
  }
}

/** A random source that gives the same each time. @param {number} seed */
export function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
