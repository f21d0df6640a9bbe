import { idOf } from "./cursor.js";
import { INTERVAL } from "./delays.js";
import { createLongPoll } from "./longpoll.js";
import { createMultiplexing, groupOf } from "./multiplexing.js";
import { keyOf } from "./spelling.js";

/**
 * Where the messages of each channel of `$.updates` come from: a poll of its own, or,
 * when a page listens to several channels of a server that offers it, the one
 * connection that they share. A channel goes over with its cursor, and back to a poll
 * of its own when the shared connection may not have it.
 */

/**
 * @typedef {Omit<import("./longpoll.js").LongPollOptions,
 *   "environment" | "credentialsByOrigin" | "since"> & {
 *   onValue(value: unknown): void,
 * }} FeedOptions `onMessage` gets a text, `onValue` JSON that is parsed already, or
 *   undefined for what is no text.
 *
 * @typedef {{ close(): void }} Feed Nothing comes once it is closed.
 *
 * @typedef {{
 *   url: string,
 *   group: string | null,
 *   shared: { client: Client, subscription: ReturnType<Client["subscribe"]> } | null,
 *   poll: ReturnType<typeof createLongPoll>,
 *   options: FeedOptions,
 * }} Entry `group` is null for what polls by itself.
 *
 * @typedef {NonNullable<Awaited<ReturnType<
 *   ReturnType<typeof createMultiplexing>["clientFor"]>>>} Client
 */

/**
 * @param {import("./environment.js").Environment} environment
 * @param {import("./credentials.js").Credentials} credentialsByOrigin
 */
export function createFeeds(environment, credentialsByOrigin) {
  const multiplexing = createMultiplexing(environment, credentialsByOrigin);
  /** @type {Set<Entry>} */
  const entries = new Set();
  /** Those that have worked, and those that never will. @type {Map<Client, boolean>} */
  const proven = new Map();
  let pageHidden = false;

  environment.addEventListener("beforeunload", () => {
    for (const { poll } of entries) poll.leave();
  });
  environment.addEventListener("pagehide", () => {
    pageHidden = true;
    for (const { poll } of entries) poll.stop();
  });
  environment.addEventListener("pageshow", () => {
    // Also fired when a page has loaded, with its polls under way: that is without
    // effect then. After the back-forward cache it goes on at once.
    pageHidden = false;
    start();
  });

  return { create, start };

  /**
   * @param {FeedOptions} given
   * @returns {Feed}
   */
  function create(given) {
    const options = { ...given, onState: onceEach(given.onState) };
    const { url, credentials, interval } = options;
    const query = [...new URL(url).searchParams];
    // Who sets an interval wants to ask only so often; a query is for the poll, but
    // for the place at which the page was made.
    const canShare = interval === INTERVAL && query.every(([key]) => key === "since");
    /** @type {Entry} */
    const entry = {
      url,
      group: canShare ? groupOf(url, credentials) : null,
      shared: null,
      poll: createLongPoll({ ...options, environment, credentialsByOrigin }),
      options,
    };
    entries.add(entry);
    return {
      close() {
        entries.delete(entry);
        entry.poll.stop();
        entry.shared?.subscription.close();
      },
    };
  }

  /** Begin with all that do not run yet. */
  function start() {
    if (pageHidden) return;
    for (const entry of [...entries]) {
      if (entry.shared) continue;
      const { group, url, options } = entry;
      const isAlone = [...entries].filter((each) => each.group === group).length < 2;
      if (group === null || isAlone) entry.poll.start();
      else void multiplexing.clientFor(url, options.credentials).then(move);

      /** @param {Client | null} client */
      function move(client) {
        if (!entries.has(entry) || entry.shared || pageHidden) return;
        const id = placeOf(entry);
        const isUsable = client && proven.get(client) !== false;
        if (isUsable && id !== undefined && entry.group) share(entry, client, id);
        else entry.poll.start();
      }
    }
  }

  /**
   * @param {Entry} entry
   * @param {Client} client
   * @param {string | null} since
   */
  function share(entry, client, since) {
    if (!proven.has(client)) watch(client);
    entry.poll.stop();
    const { onMessage, onValue, onGap, onState } = entry.options;
    const url = new URL(entry.url).pathname;
    const subscription = client.subscribe(keyOf({ url }), url, since, {
      onMessage(data, { type }) {
        const isText = typeof data === "string" && !/json/i.test(type ?? "");
        if (isText) onMessage(data);
        else onValue(data instanceof Uint8Array ? undefined : data);
      },
      onGap,
      onError({ status }) {
        // The store is down: it is asked for again.
        if (status !== 503) goBack(entry);
      },
    });
    entry.shared = { client, subscription };
    if (client.state === "open") onState("open", null);
  }

  /**
   * To a poll of its own, for good.
   * @param {Entry} entry
   */
  function goBack(entry) {
    if (!entry.shared) return;
    const { subscription } = entry.shared;
    entry.group = null;
    entry.shared = null;
    subscription.close();
    entry.poll = createLongPoll({
      ...entry.options,
      environment,
      credentialsByOrigin,
      since: subscription.cursor,
    });
    if (!pageHidden) entry.poll.start();
  }

  /** @param {Client} client */
  function watch(client) {
    client.on("state", ({ state, status }) => {
      const mine = [...entries].filter(({ shared }) => shared?.client === client);
      if (state === "open") proven.set(client, true);
      if (!proven.has(client) && isNoLocation(state, status)) {
        proven.set(client, false);
        client.close();
        mine.forEach(goBack);
        return;
      }
      const told = state === "offline" ? "waiting" : state;
      for (const { options } of mine) options.onState(told, status);
    });
  }
}

/**
 * The id that a feed has come to, null before its first message, undefined when it
 * cannot be told.
 * @param {Entry} entry
 */
function placeOf({ poll, url }) {
  const id = idOf(poll.cursor());
  return id === null ? new URL(url).searchParams.get("since") : id;
}

/**
 * Whether that is the answer of something else than a multiplex location: of a web
 * server, say, that passes on only what is below the path of the channels.
 * @param {import("./connection.js").ClientState} state
 * @param {number | null} status
 */
function isNoLocation(state, status) {
  return state === "waiting" && status !== null && status < 500 && status !== 429;
}

/**
 * A channel that goes from its poll to the shared connection may hear twice that it is
 * open.
 * @param {FeedOptions["onState"]} onState
 * @returns {FeedOptions["onState"]}
 */
function onceEach(onState) {
  let last = "";
  return (state, status) => {
    const now = state === "waiting" ? `${state} ${status}` : state;
    if (now !== last) onState(state, status);
    last = now;
  };
}
