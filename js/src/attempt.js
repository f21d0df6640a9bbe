/**
 * What the transports have in common. Each is a function that makes one attempt: from
 * a request, or a handshake, to its end. The connection that uses them does not know
 * which it has.
 */

/**
 * An entry as the server writes it: a message, a position (`id` alone) or the end of a
 * channel (`error`).
 * @typedef {{
 *   channel?: string, url?: string, id?: string, type?: string | null,
 *   data?: unknown, text?: string, base64?: string, event?: string, gap?: boolean,
 *   error?: number, reason?: string,
 * }} Entry
 *
 * @typedef {{ channels?: Record<string, Terms>, urls?: Record<string, Terms> }} Channels
 * @typedef {{ since?: string, token?: string }} Terms
 * @typedef {{ subscribe: Channels } | { unsubscribe: Record<string, string[]> }} Frame
 */

/**
 * How an attempt ended.
 * - `served`: as it should; `pause` is how long the server would have us wait
 * - `silent`: it had begun, and then nothing came for too long
 * - `unfit`: nothing gets through this way; another transport may
 * - `failed`: refused, or cut off. `status` is null when no answer came
 * @typedef {{ kind: "served", pause: number } | { kind: "silent" } | { kind: "unfit" }
 *   | { kind: "failed", status: number | null, retryAfter: number }} End
 */

/**
 * @typedef {{
 *   url: string,
 *   channels: Channels,
 *   credentials: import("./environment.js").CredentialsMode,
 *   environment: import("./environment.js").Environment,
 *   onOpen(status: number | null): void,
 *   onEntries(entries: Entry[]): void,
 *   onEnd(end: End): void,
 * }} AttemptOptions `onOpen` comes when the connection is known to work, again with
 *   each answer; `onEnd` once, and nothing after it.
 *
 * @typedef {{ send(frame: Frame): boolean, close(): void }} Attempt `send` says
 *   whether the frame could be sent; where it could not, it takes another attempt.
 *   No callback comes after `close`, and none before the function that made the
 *   attempt has returned.
 *
 * @typedef {(options: AttemptOptions) => Attempt} Transport
 * @typedef {"websocket" | "event-stream" | "long-poll"} TransportName
 */

/**
 * @param {string} text
 * @returns {Entry[] | null} null when it is no array of entries
 */
export function parseEntries(text) {
  try {
    const value = JSON.parse(text);
    const isEntries = (/** @type {any[]} */ list) =>
      list.every((entry) => typeof entry === "object" && entry !== null);
    return Array.isArray(value) && isEntries(value) ? value : null;
  } catch {
    return null;
  }
}

/**
 * One timer that is set again and again.
 * @param {import("./environment.js").Environment} environment
 */
export function createAlarm(environment) {
  /** @type {import("./environment.js").Timer} */
  let timer = null;
  return {
    /** @param {number} delay @param {() => void} fn */
    set(delay, fn) {
      environment.clearTimeout(timer);
      timer = environment.setTimeout(fn, delay);
    },
    clear() {
      environment.clearTimeout(timer);
    },
  };
}
