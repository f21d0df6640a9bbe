/** Every wait of the client: what it is, how long, and why. Milliseconds. */

/** The first retry comes within this time; each further one may take twice as long. */
export const RETRY_BASE = 1_000;
/** The longest a retry waits, unless the server asks for more. */
export const RETRY_CAP = 30_000;
/** A refused client (401, 403) asks again this rarely: somebody may have logged in. */
export const REFUSED_RETRY = 60_000;
/** Retry-After beyond this is a mistake; setTimeout fires at once above 2^31 ms. */
export const RETRY_AFTER_CAP = 3_600_000;
/** An answer that took longer was held by the server; a 304 in less was not. */
export const HELD_AFTER = 1_000;
/** Pause between polls of a location that answers 304 at once. */
export const INTERVAL = 3_000;
/**
 * A poll without an answer is given up and sent again: after a laptop slept or a
 * router forgot the connection no error ever comes. Nothing is lost by it, as the
 * cursor stays. Far above the 25 s a server holds, for those who configured more.
 */
export const POLL_DEADLINE = 120_000;

/**
 * A stream whose first byte has not come by now is held back by a proxy that buffers:
 * the server sends one at once.
 */
export const FIRST_BYTE = 3_000;
/** A stream or a socket that says nothing for so long has died: three heartbeats. */
export const SILENCE = 45_000;
/** A transport that does not get through is tried again after this, then twice this. */
export const TRANSPORT_RETRY = 600_000;
export const TRANSPORT_RETRY_CAP = 7_200_000;
/** A page that is hidden for longer than this keeps one cheap poll. */
export const HIDDEN_AFTER = 60_000;
/** Pause between the polls of a hidden page: what comes meanwhile comes together. */
export const HIDDEN_PAUSE = 5_000;
/** A connection that held for so long was a good one: the next failure is a first. */
export const STEADY = 5_000;
/**
 * How often a tab that is shown asks whether the one that leads is alive, and how long
 * it waits for the answer: some browsers suspend a page without telling it.
 */
export const LEADER_CHECK = 5_000;
export const LEADER_ANSWER = 2_000;
/** Subscriptions made within this time travel in one request. */
export const GATHER = 20;

/**
 * Exponential, capped, with full jitter: anything from 0 up to the cap of this
 * try, so that the clients of a restarted server do not return in step.
 * @param {number} failures In a row, the present one included.
 * @param {() => number} random
 */
export function backOff(failures, random) {
  return random() * Math.min(RETRY_CAP, RETRY_BASE * 2 ** (failures - 1));
}

/**
 * How long to wait after a failed poll. What the server asked for is a minimum;
 * the jitter comes on top, because it told all its clients the same.
 * @param {{
 *   status: number | null,
 *   failures: number,
 *   retryAfter: number,
 *   random: () => number,
 * }} failure `status` is null when no answer came; `retryAfter` in milliseconds.
 */
export function delayAfterFailure({ status, failures, retryAfter, random }) {
  const own =
    status === 401 || status === 403
      ? (REFUSED_RETRY * (1 + random())) / 2
      : backOff(failures, random);
  return retryAfter + own;
}

/**
 * Interval polling, spread over 80 to 100 % of the interval.
 * @param {number} interval
 * @param {() => number} random
 */
export function nextInterval(interval, random) {
  return interval * (0.8 + 0.2 * random());
}

/**
 * Retry-After (whole seconds or an HTTP date) in milliseconds from `now`;
 * 0 when absent, in the past or unreadable.
 * @param {string | null} value
 * @param {number} now
 */
export function parseRetryAfter(value, now) {
  if (value === null) return 0;
  const wait = /^\s*\d+\s*$/.test(value)
    ? Number(value) * 1_000
    : Date.parse(value) - now;
  return Number.isNaN(wait) ? 0 : Math.min(Math.max(wait, 0), RETRY_AFTER_CAP);
}
