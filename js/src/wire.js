import { createAlarm } from "./attempt.js";
import { createConnection } from "./connection.js";
import { GATHER, delayAfterFailure } from "./delays.js";
import { earliest, isAfter, judge } from "./place.js";
import { keyOf, names, spell } from "./spelling.js";

/**
 * All that several readers (tabs) listen to, over one connection. Each channel stands
 * on the wire at the earliest of its readers' cursors; a reader that comes with an
 * earlier one takes the channel back to it, and the others pass over what they know.
 */

/**
 * What comes to the readers, in order.
 * @typedef {{ key: string, after: import("./place.js").Position,
 *   entry: import("./attempt.js").Entry }} Item `after` is where the wire stood.
 *
 * @typedef {{ since: import("./place.js").Position, token?: string | undefined }} Want
 *
 * @typedef {{
 *   wants: Map<string, Want>,
 *   position: import("./place.js").Position,
 *   failures: number,
 *   isResting: boolean,
 *   rest: ReturnType<typeof createAlarm>,
 * }} Channel `wants` by reader; `position` is meant only while it is on the wire.
 */

/**
 * @param {import("./connection.js").ConnectionOptions & {
 *   onItems(items: Item[]): void,
 *   onCondition(condition: import("./connection.js").Condition): void,
 * }} options
 */
export function createWire(options) {
  const { environment } = options;
  const gather = createAlarm(environment);
  let isGathering = false;
  /** @type {Map<string, Channel>} */
  const channels = new Map();
  /** Listened to at the moment. @type {Set<string>} */
  const live = new Set();
  /** Listened to at some time in the present attempt. @type {Set<string>} */
  const asked = new Set();
  /** Whether some channel has to go back to an earlier position. */
  let isStale = false;
  /** @type {Map<string, boolean>} */
  const hidden = new Map();
  let allHidden = false;
  const connection = createConnection({
    ...options,
    channels: request,
    onEntries: receive,
  });

  return { start: connection.start, stop, want, drop, dropReader, setHidden };

  function stop() {
    gather.clear();
    for (const { rest } of channels.values()) rest.clear();
    connection.stop();
  }

  /**
   * @param {string} reader
   * @param {[string, Want][]} wants By key. A key that is wanted already is wanted from
   *   another position now, or with another token.
   */
  function want(reader, wants) {
    for (const [key, wanted] of wants) {
      const channel = channels.get(key) ?? create(key);
      const before = channel.wants.get(reader);
      channel.wants.set(reader, { ...wanted });
      // Who is new hears of a refusal, too. A new token ends one, but not that of new
      // token after new token.
      const isRenewed = before?.token !== wanted.token && channel.failures <= 1;
      if (channel.isResting && (!before || isRenewed)) wakeUp(channel);
      if (isBehind(key, channel)) isStale = true;
    }
    applySoon();
  }

  /**
   * @param {string} reader
   * @param {string[]} keys
   */
  function drop(reader, keys) {
    for (const key of keys) {
      const channel = channels.get(key);
      if (!channel?.wants.delete(reader) || channel.wants.size > 0) continue;
      channel.rest.clear();
      channels.delete(key);
    }
    applySoon();
  }

  /** @param {string} reader */
  function dropReader(reader) {
    drop(reader, [...channels.keys()]);
    hidden.delete(reader);
    applyHidden();
  }

  /**
   * @param {string} reader
   * @param {boolean} isHidden
   */
  function setHidden(reader, isHidden) {
    hidden.set(reader, isHidden);
    applyHidden();
  }

  function applyHidden() {
    const all = [...hidden.values()].every(Boolean);
    if (all !== allHidden) connection.setHidden(all);
    allHidden = all;
  }

  /** @param {string} key */
  function create(key) {
    /** @type {Channel} */
    const channel = {
      wants: new Map(),
      position: null,
      failures: 0,
      isResting: false,
      rest: createAlarm(environment),
    };
    channels.set(key, channel);
    return channel;
  }

  /** Together with what else is wanted in this moment. */
  function applySoon() {
    if (isGathering) return;
    isGathering = true;
    gather.set(live.size === 0 ? 0 : GATHER, apply);
  }

  /** Bring what is asked for to what is wanted. */
  function apply() {
    isGathering = false;
    const added = wanted().filter(([key]) => !live.has(key));
    const removed = [...live].filter((key) => !channels.has(key));
    for (const key of removed) live.delete(key);
    // Asked twice on one socket, what was sent before would look like the answer.
    const again = added.some(([key]) => asked.has(key));
    if (isStale || again || channels.size === 0) connection.refresh();
    else if (!ask(added)) connection.refresh();
    else if (removed.length > 0) connection.send({ unsubscribe: names(removed) });
  }

  /** @param {[string, Channel][]} added */
  function ask(added) {
    if (added.length === 0) return true;
    const sent = connection.send({ subscribe: spell(terms(added)) });
    if (sent) place(added);
    return sent;
  }

  /** All that an attempt begins with. */
  function request() {
    live.clear();
    asked.clear();
    isStale = false;
    const all = wanted();
    place(all);
    return all.length > 0 ? spell(terms(all)) : null;
  }

  function wanted() {
    return [...channels].filter(([, { isResting }]) => !isResting);
  }

  /** @param {[string, Channel][]} list */
  function place(list) {
    for (const [key, channel] of list) {
      live.add(key);
      asked.add(key);
      channel.position = needed(channel);
    }
  }

  /** @param {import("./attempt.js").Entry[]} entries */
  function receive(entries) {
    /** @type {Item[]} */
    const items = [];
    for (const entry of entries) {
      const key = keyOf(entry);
      const channel = live.has(key) ? channels.get(key) : undefined;
      if (channel) {
        items.push({ key, after: channel.position, entry });
        take(key, channel, entry);
      } else if (entry.channel === undefined && entry.url === undefined) {
        items.push({ key: "", after: null, entry }); // about the request as a whole
      }
    }
    // A reader for whom this leaves a hole says so: it wants the channel from there.
    options.onItems(items);
  }

  /**
   * @param {string} key
   * @param {Channel} channel
   * @param {import("./attempt.js").Entry} entry
   */
  function take(key, channel, { id, error }) {
    if (error !== undefined) {
      refused(key, channel, error);
    } else if (id !== undefined) {
      for (const want of channel.wants.values()) {
        if (judge(want.since, channel.position, id) === "news") want.since = id;
      }
      channel.failures = 0;
      channel.position = id;
    }
  }

  /**
   * The others go on; this one is asked for again after a while, unless the request
   * itself was wrong.
   * @param {string} key
   * @param {Channel} channel
   * @param {number} status
   */
  function refused(key, channel, status) {
    live.delete(key);
    asked.delete(key);
    channel.isResting = true;
    channel.failures += 1;
    if (status === 400) return;
    const { failures } = channel;
    const { random } = environment;
    const delay = delayAfterFailure({ status, failures, retryAfter: 0, random });
    channel.rest.set(delay, () => {
      channel.isResting = false;
      apply();
    });
  }

  /** @param {Channel} channel */
  function wakeUp(channel) {
    channel.rest.clear();
    channel.isResting = false;
  }

  /**
   * Whether some reader wants what came before the position on the wire.
   * @param {string} key
   * @param {Channel} channel
   */
  function isBehind(key, channel) {
    if (!live.has(key) || channel.position === null) return false;
    const need = needed(channel);
    return need === null || isAfter(channel.position, need);
  }
}

/** @param {Channel} channel */
function needed({ wants }) {
  return earliest([...wants.values()].map(({ since }) => since));
}

/**
 * @param {[string, Channel][]} list
 */
function terms(list) {
  return list.map(([key, channel]) => {
    const since = needed(channel);
    const token = [...channel.wants.values()].find((want) => want.token)?.token;
    return /** @type {const} */ ([
      key,
      { ...(since && { since }), ...(token && { token }) },
    ]);
  });
}
