/**
 * A push server in memory, as docs/topics/protocol.md describes the multiplex location:
 * long poll, event stream and socket; what a test does to it in between; and the
 * browser's side of it, for any number of pages that share locks and broadcasts.
 */

import { isAfter } from "../src/place.js";

const POLL_TIMEOUT = 25_000;
const HEARTBEAT = 15_000;

/**
 * @typedef {{ id: string, entry: any }} Kept
 * @typedef {{ kept: Kept[], dropped: string | null, last: string, deleted: boolean }} Channel
 * @typedef {{
 *   channels: Map<string, string | null>,
 *   urls: Set<string>,
 *   send(entries: any[]): void,
 *   cut(): void,
 *   end(): void,
 *   closeWith?: (code: number) => void,
 *   kind: string,
 *   once: boolean,
 * }} Reader
 */

/**
 * @param {ReturnType<typeof import("./clock.js").createClock>} clock
 */
export function createServer(clock) {
  /** @type {Map<string, Channel>} */
  const channels = new Map();
  /** @type {Set<Reader>} */
  const readers = new Set();
  /** @type {{ kind: string, body: any, url: string }[]} */
  const requests = [];
  let count = 0;
  const server = {
    /** What OPTIONS says of many channels; null for an older server. */
    /** @type {string | null} */
    offer: "/updates",
    /** What is wrong with it, or between it and the pages. */
    isDown: false,
    buffers: false,
    refusesSockets: false,
    firstMessage: "oldest",
    maxEntries: 100,
    /** @type {null | { status: number, headers?: Record<string, string> }} */
    refusal: null,
    /** @type {Map<string, number>} Channels that are refused, and how. */
    refused: new Map(),
    /** @type {Map<string, string>} Channels that need a token. */
    tokens: new Map(),
    requests,
    readers,
    publish,
    trim,
    forget: (/** @type {string} */ name) => end(name, 410),
    /** Cut all connections; what was sent is there, what comes is not. */
    cutAll: () => [...readers].forEach((reader) => reader.cut()),
    endAll: () => [...readers].forEach((reader) => reader.end()),
    connections: () => readers.size,
    fetch: answer,
    openSocket,
  };
  return server;

  /** @param {string} name */
  function channelOf(name) {
    let channel = channels.get(name);
    if (!channel) {
      channel = { kept: [], dropped: null, last: "0-0", deleted: false };
      channels.set(name, channel);
    }
    return channel;
  }

  /** @param {string} name @param {any} data @param {any} [more] */
  function publish(name, data, more = { type: "application/json", data }) {
    const channel = channelOf(name);
    const id = `${clock.now()}-${++count}`;
    channel.kept.push({ id, entry: more });
    channel.last = id;
    for (const reader of [...readers]) deliver(reader);
    return id;
  }

  /** @param {string} name @param {number} keep */
  function trim(name, keep) {
    const channel = channelOf(name);
    const gone = channel.kept.splice(0, channel.kept.length - keep);
    channel.dropped = gone.at(-1)?.id ?? channel.dropped;
  }

  /** @param {string} name @param {number} error */
  function end(name, error) {
    for (const reader of [...readers]) {
      if (!reader.channels.delete(name)) continue;
      send(reader, [{ ...spelled(reader, name), error, reason: "ended" }]);
    }
  }

  /** @param {Reader} reader @param {string} name */
  function spelled(reader, name) {
    return reader.urls.has(name) ? { url: name } : { channel: name };
  }

  /** @param {Reader} reader */
  function deliver(reader) {
    /** @type {any[]} */
    const entries = [];
    for (const [name, since] of reader.channels) {
      const channel = channelOf(name);
      let lost = since !== null && since !== "0-0" && isGap(channel, since);
      for (const { id, entry } of channel.kept) {
        if (entries.length >= server.maxEntries) break;
        if (since !== null && !isAfter(id, since)) continue;
        entries.push({
          ...spelled(reader, name),
          id,
          ...entry,
          ...(lost && { gap: true }),
        });
        lost = false;
        reader.channels.set(name, id);
      }
      if (lost && channel.kept.length === 0) {
        entries.push({ ...spelled(reader, name), id: channel.last, gap: true });
        reader.channels.set(name, channel.last);
      }
    }
    if (entries.length > 0) send(reader, entries);
    if (entries.length >= server.maxEntries && readers.has(reader)) deliver(reader);
  }

  /** @param {Channel} channel @param {string} since */
  function isGap({ dropped }, since) {
    return dropped !== null && isAfter(dropped, since);
  }

  /** @param {Reader} reader @param {any[]} entries */
  function send(reader, entries) {
    reader.send(entries);
    if (reader.once) readers.delete(reader);
  }

  /**
   * @param {Reader} reader
   * @param {any} wanted
   */
  function subscribe(reader, wanted) {
    /** @type {any[]} */
    const entries = [];
    const all = [
      ...Object.entries(wanted.channels ?? {}),
      ...Object.entries(wanted.urls ?? {}).map((each) => {
        reader.urls.add(each[0]);
        return each;
      }),
    ];
    for (const [name, { since, token }] of all) {
      const needed = server.tokens.get(name);
      const error =
        server.refused.get(name) ??
        (needed !== undefined && needed !== token ? 403 : undefined);
      if (error !== undefined) {
        entries.push({ ...spelled(reader, name), error, reason: "refused" });
        continue;
      }
      const channel = channelOf(name);
      let place = since ?? null;
      if (place === null && server.firstMessage === "newest") place = channel.last;
      if (place !== null && isAfter(place, channel.last)) place = channel.last;
      reader.channels.set(name, place);
      if (!reader.once) entries.push({ ...spelled(reader, name), id: place ?? "0-0" });
    }
    if (entries.length > 0 || !reader.once) send(reader, entries);
    if (readers.has(reader)) deliver(reader);
  }

  /**
   * @param {string} url
   * @param {import("../src/environment.js").RequestOptions} options
   * @returns {Promise<import("../src/environment.js").ResponseLike>}
   */
  async function answer(url, options) {
    const wantsStream = options.headers["Accept"] === "text/event-stream";
    const kind =
      options.method === "POST"
        ? wantsStream
          ? "event-stream"
          : "long-poll"
        : (options.method ?? "GET");
    const body = JSON.parse(options.body ?? "{}");
    requests.push({ kind, body, url });
    if (server.isDown) throw new TypeError("Failed to fetch");
    if (server.refusal) {
      const { status, headers = {} } = server.refusal;
      return { status, headers: new Headers(headers), text: async () => "" };
    }
    if (kind === "OPTIONS") {
      const headers = server.offer === null ? {} : { "X-Push-Multiplex": server.offer };
      return { status: 204, headers: new Headers(headers), text: async () => "" };
    }
    if (kind === "GET") return pollOne(new URL(url).pathname, options);
    return wantsStream ? stream(body, options.signal) : poll(body, options.signal);
  }

  /**
   * A poll of one channel, whose name here is its path.
   * @param {string} name
   * @param {import("../src/environment.js").RequestOptions} options
   * @returns {Promise<import("../src/environment.js").ResponseLike>}
   */
  async function pollOne(name, { headers, signal }) {
    const since = headers["If-None-Match"]?.replaceAll('"', "");
    const terms = { [name]: since === undefined ? {} : { since } };
    server.maxEntries = 1;
    try {
      const held = poll({ channels: terms }, signal);
      server.maxEntries = 100;
      const [entry] = JSON.parse(await (await held).text());
      const id = entry?.id ?? since ?? "0-0";
      const cursor = {
        ETag: `"${id}"`,
        "Last-Modified": new Date(Number.parseInt(id, 10)).toUTCString(),
        ...(entry?.gap && { "X-Push-Gap": "1" }),
      };
      const text = entry?.text ?? JSON.stringify(entry?.data) ?? "";
      const status = entry?.error ?? (entry ? 200 : 304);
      return { status, headers: new Headers(cursor), text: async () => text };
    } finally {
      server.maxEntries = 100;
    }
  }

  /**
   * @param {any} body
   * @param {AbortSignal} signal
   * @returns {Promise<import("../src/environment.js").ResponseLike>}
   */
  function poll(body, signal) {
    return new Promise((resolve, reject) => {
      const timer = clock.setTimeout(() => reader.send([]), POLL_TIMEOUT);
      /** @type {Reader} */
      const reader = {
        kind: "long-poll",
        once: true,
        channels: new Map(),
        urls: new Set(),
        send(entries) {
          clock.clearTimeout(timer);
          readers.delete(reader);
          const headers = new Headers({ "Content-Type": "application/json" });
          const text = JSON.stringify(entries);
          resolve({ status: 200, headers, text: async () => text });
        },
        cut() {
          clock.clearTimeout(timer);
          readers.delete(reader);
          reject(new TypeError("network error"));
        },
        end: () => reader.send([]),
      };
      signal.addEventListener("abort", () => reader.cut());
      readers.add(reader);
      subscribe(reader, body);
    });
  }

  /**
   * @param {any} body
   * @param {AbortSignal} signal
   * @returns {Promise<import("../src/environment.js").ResponseLike>}
   */
  async function stream(body, signal) {
    /** @type {(Uint8Array | null | Error)[]} */
    const queue = [];
    let wake = () => {};
    /** @param {Uint8Array | null | Error} piece */
    const put = (piece) => {
      if (server.buffers && !(piece instanceof Error)) return;
      queue.push(piece);
      wake();
    };
    const encode = (/** @type {string} */ text) => new TextEncoder().encode(text);
    /** @type {unknown} */
    let timer;
    const beat = () => {
      put(encode(":\n\n"));
      timer = clock.setTimeout(beat, HEARTBEAT);
    };
    /** @type {Reader} */
    const reader = {
      kind: "event-stream",
      once: false,
      channels: new Map(),
      urls: new Set(),
      send(entries) {
        // Cut anywhere, as the network does it.
        const bytes = encode(`data: ${JSON.stringify(entries)}\n\n`);
        put(bytes.slice(0, 9));
        put(bytes.slice(9));
      },
      cut() {
        close();
        put(new TypeError("network error"));
      },
      end() {
        close();
        put(null);
      },
    };
    const close = () => {
      clock.clearTimeout(timer);
      readers.delete(reader);
    };
    signal.addEventListener("abort", () => reader.cut());
    readers.add(reader);
    beat();
    subscribe(reader, body);
    const headers = new Headers({ "Content-Type": "text/event-stream; charset=utf-8" });
    return {
      status: 200,
      headers,
      text: async () => "",
      body: {
        getReader: () => ({
          async read() {
            while (queue.length === 0) {
              await new Promise((resolve) => (wake = () => resolve(undefined)));
            }
            const piece = queue.shift();
            if (piece instanceof Error) throw piece;
            return piece ? { done: false, value: piece } : { done: true };
          },
        }),
      },
    };
  }

  /**
   * @param {string} url
   * @returns {import("../src/environment.js").SocketLike}
   */
  function openSocket(url) {
    /** @type {import("../src/environment.js").SocketLike} */
    const socket = {
      onopen: null,
      onmessage: null,
      onclose: null,
      send(text) {
        const frame = JSON.parse(text);
        requests.push({ kind: "websocket", body: frame, url });
        if (frame.subscribe) subscribe(reader, frame.subscribe);
        const { channels: ids = [], urls = [] } = frame.unsubscribe ?? {};
        for (const name of [...ids, ...urls]) reader.channels.delete(name);
      },
      close: () => close(1000),
    };
    const close = (/** @type {number} */ code) => {
      clock.clearTimeout(timer);
      readers.delete(reader);
      queueMicrotask(() => socket.onclose?.({ code }));
    };
    /** @type {unknown} */
    let timer;
    const beat = () => {
      reader.send([]);
      timer = clock.setTimeout(beat, HEARTBEAT);
    };
    /** @type {Reader} */
    const reader = {
      kind: "websocket",
      once: false,
      channels: new Map(),
      urls: new Set(),
      send(entries) {
        const data = JSON.stringify(entries);
        queueMicrotask(() => socket.onmessage?.({ data }));
      },
      closeWith: close,
      cut: () => close(1006),
      end: () => close(4000),
    };
    queueMicrotask(() => {
      if (server.isDown || server.refusesSockets || server.refusal) {
        requests.push({ kind: "websocket", body: null, url });
        socket.onclose?.({ code: 1006 });
        return;
      }
      readers.add(reader);
      socket.onopen?.({});
      timer = clock.setTimeout(beat, HEARTBEAT);
    });
    return socket;
  }
}

/**
 * What the pages of a browser share: locks, given in the order in which they were asked
 * for, and broadcasts, which come later and as copies.
 */
export function createBrowser() {
  /** @type {Map<string, Set<any>>} */
  const broadcasts = new Map();
  /** @type {Map<string, { begin(): Promise<void>, break(): void }[]>} */
  const queues = new Map();

  return { openBroadcast, locks: { request } };

  /**
   * @param {string} name
   * @returns {import("../src/environment.js").BroadcastLike}
   */
  function openBroadcast(name) {
    const those = broadcasts.get(name) ?? new Set();
    broadcasts.set(name, those);
    /** @type {import("../src/environment.js").BroadcastLike} */
    const mine = {
      onmessage: null,
      postMessage(message) {
        const data = structuredClone(message);
        for (const other of those) {
          if (other !== mine) queueMicrotask(() => other.onmessage?.({ data }));
        }
      },
      close: () => void those.delete(mine),
    };
    those.add(mine);
    return mine;
  }

  /**
   * @param {string} name
   * @param {{ signal: AbortSignal } | { steal: true }} options
   * @param {() => Promise<void>} fn
   */
  function request(name, options, fn) {
    const queue = queues.get(name) ?? [];
    queues.set(name, queue);
    return new Promise((resolve, reject) => {
      const turn = {
        break: () => reject(new Error("stolen")),
        async begin() {
          try {
            resolve(await fn());
          } catch (error) {
            reject(error);
          }
          if (queue[0] !== turn) return; // stolen
          queue.shift();
          void queue[0]?.begin();
        },
      };
      if ("steal" in options) {
        queue.shift()?.break();
        queue.unshift(turn);
        queueMicrotask(turn.begin);
        return;
      }
      options.signal.addEventListener("abort", () => {
        const place = queue.indexOf(turn);
        if (place < 1) return; // held, or over
        queue.splice(place, 1);
        reject(new Error("aborted"));
      });
      queue.push(turn);
      if (queue.length === 1) queueMicrotask(turn.begin);
    });
  }
}
