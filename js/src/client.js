import { createEmitter } from "./emitter.js";
import { judge } from "./place.js";

/**
 * @typedef {import("./connection.js").Condition} Condition
 * @typedef {import("./wire.js").Item} Item
 *
 * @typedef {{
 *   channel: string, id: string, type: string | null, data: any, event: string | null,
 * }} Message `channel` as it was subscribed to; `data` is the JSON value, the text, or
 *   for anything else a Uint8Array; `type` its content type.
 *
 * @typedef {{ channel: string | null, status: number, reason: string }} Refusal
 *   `channel` is null when the server refused the request as a whole.
 *
 * @typedef {{
 *   onMessage?: ((data: any, message: Message) => void) | undefined,
 *   onGap?: ((channel: string) => void) | undefined,
 *   onError?: ((refusal: Refusal) => void) | undefined,
 * }} Handlers
 *
 * @typedef {{
 *   state: Condition,
 *   gap: { channel: string },
 *   error: Refusal,
 *   message: Message,
 * }} Events
 */

/**
 * How a client reaches the wire: directly, or through another tab.
 * @typedef {{
 *   start(): void,
 *   stop(): void,
 *   want(wants: [string, import("./wire.js").Want][]): void,
 *   drop(keys: string[]): void,
 *   setHidden(hidden: boolean): void,
 * }} Link `start` begins from nothing: it asks by `onStart` for what is wanted.
 *
 * @typedef {{
 *   onStart(): void,
 *   onItems(items: Item[]): void,
 *   onCondition(condition: Condition): void,
 * }} LinkEvents
 */

/**
 * What a page listens to: its channels and its place in each of them. Each message
 * once, in order, whatever the link does.
 * @param {{
 *   environment: import("./environment.js").Environment,
 *   createLink(events: LinkEvents): Link,
 *   renew?: ((channel: string, refusal: Refusal | null) =>
 *     string | undefined | PromiseLike<string | undefined>) | undefined,
 * }} options `renew` gives the token of a channel: before it is first asked for, and
 *   after each refusal.
 */
export function createClient({ environment, createLink, renew }) {
  /**
   * @typedef {{
   *   name: string,
   *   cursor: import("./place.js").Position,
   *   isBehind: boolean,
   *   token: string | undefined,
   *   isReady: boolean,
   *   refused: number | null,
   *   handlers: Set<Handlers>,
   * }} Place `isReady`: it has the token to ask with.
   */
  /** @type {Map<string, Place>} */
  const places = new Map();
  /** @type {ReturnType<typeof createEmitter<Events>>} */
  const { on, emit, guard } = createEmitter(environment.console);
  /** @type {Condition} */
  let condition = { state: "connecting", status: null };
  let isRunning = false;
  /** Where it was in channels that were left. @type {Map<string, string>} */
  const left = new Map();
  const link = createLink({ onStart, onItems: receive, onCondition: report });
  const remove = [
    environment.addEventListener("pagehide", pause),
    environment.addEventListener("pageshow", resume),
    environment.addEventListener("freeze", pause),
    environment.addEventListener("resume", resume),
    environment.addEventListener("visibilitychange", () => {
      // Some browsers unfreeze a page without telling it.
      if (!environment.isHidden()) resume();
      link.setHidden(environment.isHidden());
    }),
  ];
  resume();

  return {
    subscribe,
    on,
    close,
    get state() {
      return condition.state;
    },
  };

  /**
   * @param {string} key As `keyOf` gives it.
   * @param {string} name What the handlers get as the channel.
   * @param {import("./place.js").Position} since Where to begin, unless the client
   *   has listened to the channel before.
   * @param {Handlers} handlers
   */
  function subscribe(key, name, since, handlers) {
    const place = places.get(key) ?? enter(key, name, since);
    const mine = { ...handlers };
    place.handlers.add(mine);
    return {
      channel: name,
      get cursor() {
        return place.cursor;
      },
      close() {
        if (!place.handlers.delete(mine) || place.handlers.size > 0) return;
        if (places.get(key) !== place) return;
        places.delete(key);
        if (place.cursor !== null) left.set(key, place.cursor);
        link.drop([key]);
      },
    };
  }

  /**
   * @param {string} key
   * @param {string} name
   * @param {import("./place.js").Position} since
   */
  function enter(key, name, since) {
    /** @type {Place} */
    const place = {
      name,
      cursor: left.get(key) ?? since,
      isBehind: false,
      token: undefined,
      isReady: false,
      refused: null,
      handlers: new Set(),
    };
    places.set(key, place);
    void ready(key, place, null);
    return place;
  }

  function close() {
    pause();
    for (const each of remove) each();
    places.clear();
    report({ state: "closed", status: null });
  }

  function pause() {
    if (isRunning) link.stop();
    isRunning = false;
  }

  function resume() {
    if (isRunning || condition.state === "closed") return;
    isRunning = true;
    link.start();
    link.setHidden(environment.isHidden());
  }

  function onStart() {
    const wants = [...places].filter(([, { isReady }]) => isReady);
    if (wants.length > 0) link.want(wants.map(([key, place]) => [key, wantOf(place)]));
  }

  /** @param {Place} place */
  function wantOf({ cursor, token }) {
    return { since: cursor, token };
  }

  /**
   * Ask for a channel, with the token that the page gives.
   * @param {string} key
   * @param {Place} place
   * @param {Refusal | null} refusal
   */
  async function ready(key, place, refusal) {
    if (renew) {
      try {
        place.token = await renew(place.name, refusal);
      } catch (error) {
        environment.console.error("pushserver: no token:", error);
      }
    }
    place.isReady = true;
    if (isRunning && places.get(key) === place) link.want([[key, wantOf(place)]]);
  }

  /** @param {Item[]} items */
  function receive(items) {
    for (const { key, after, entry } of items) {
      const place = places.get(key);
      if (entry.error !== undefined) {
        const { error: status, reason = "" } = entry;
        if (place) refused(key, place, { channel: place.name, status, reason });
        else if (key === "") emit("error", { channel: null, status, reason });
      } else if (place && entry.id !== undefined) {
        place.refused = null;
        const verdict = judge(place.cursor, after, entry.id);
        if (verdict === "news") take(place, entry, entry.id);
        else if (verdict === "hole") goBack(key, place);
      }
    }
  }

  /**
   * @param {Place} place
   * @param {import("./attempt.js").Entry} entry
   * @param {string} id
   */
  function take(place, entry, id) {
    place.cursor = id;
    place.isBehind = false;
    const { name: channel } = place;
    if (entry.gap) {
      each(place, ({ onGap }) => onGap?.(channel));
      emit("gap", { channel });
    }
    const data = contentOf(entry);
    if (data === undefined) return;
    const { type = null, event = null } = entry;
    const message = { channel, id, type, data, event };
    each(place, ({ onMessage }) => onMessage?.(data, message));
    emit("message", message);
  }

  /**
   * @param {string} key
   * @param {Place} place
   */
  function goBack(key, place) {
    if (place.isBehind) return;
    place.isBehind = true;
    link.want([[key, wantOf(place)]]);
  }

  /**
   * Told once, until something else happens.
   * @param {string} key
   * @param {Place} place
   * @param {Refusal} refusal
   */
  function refused(key, place, refusal) {
    const { status } = refusal;
    if (renew && (status === 401 || status === 403)) void ready(key, place, refusal);
    if (place.refused === status) return;
    place.refused = status;
    each(place, ({ onError }) => onError?.(refusal));
    emit("error", refusal);
  }

  /** @param {Condition} next */
  function report(next) {
    const { state, status } = condition;
    if (state === "closed" || (next.state === state && next.status === status)) return;
    condition = next;
    emit("state", next);
    if (next.status !== null && next.status >= 400 && next.status < 500) {
      const reason = "the server refuses the request";
      emit("error", { channel: null, status: next.status, reason });
    }
  }

  /**
   * @param {Place} place
   * @param {(handlers: Handlers) => void} call
   */
  function each(place, call) {
    for (const handlers of [...place.handlers]) {
      if (place.handlers.has(handlers)) guard(() => call(handlers));
    }
  }
}

/**
 * @param {import("./attempt.js").Entry} entry
 * @returns {unknown} undefined for a position
 */
function contentOf({ data, text, base64 }) {
  if (base64 === undefined) return data ?? text ?? (data === null ? null : undefined);
  return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
}
