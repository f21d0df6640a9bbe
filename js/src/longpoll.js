import { NO_CURSOR, cursorAfter, isNews, requestHeaders } from "./cursor.js";
import {
  HELD_AFTER,
  POLL_DEADLINE,
  backOff,
  delayAfterFailure,
  nextInterval,
  parseRetryAfter,
} from "./delays.js";
import { GAP, RETRY_AFTER } from "./protocol.js";

/**
 * - `connecting`: nothing was answered yet
 * - `open`: the last poll was answered, or the present one is being held
 * - `waiting`: the last poll failed, the next one comes by itself
 * - `closed`: unsubscribed
 * @typedef {"connecting" | "open" | "waiting" | "closed"} State
 */

/**
 * `url` is absolute; `since` the id to begin after. `credentials` null means: find out.
 * @typedef {{
 *   url: string,
 *   since?: string | null,
 *   interval: number,
 *   credentials: import("./environment.js").CredentialsMode | null,
 *   credentialsByOrigin: import("./credentials.js").Credentials,
 *   environment: import("./environment.js").Environment,
 *   onMessage(text: string): void,
 *   onGap(): void,
 *   onState(state: State, status: number | null): void,
 * }} LongPollOptions `onState` gets the HTTP status of the answer, null for none.
 */

/** @typedef {{ cancel(): void }} Run From start to stop. */

/**
 * One long poll on one channel: each message once, in order, for as long as it is
 * started. Reads the interval location's immediate 304 as "come back later".
 *
 * `stop` ends at once, also between the answer and its delivery; `start` goes on
 * after the last message delivered. `leave` says that the page may be about to go:
 * some browsers cut polls off before the page hears that it is hidden, and the next
 * poll cut off is then no failure. The callbacks must not throw.
 * @param {LongPollOptions} options
 */
export function createLongPoll(options) {
  const { url, environment, onMessage, onGap, onState } = options;
  let cursor = options.since
    ? { etag: `"${options.since}"`, lastModified: null }
    : NO_CURSOR;
  let failures = 0;
  let leaving = false;
  let warned = false;
  /** @type {State} */
  let state = "connecting";
  /** @type {number | null} */
  let status = null;
  /**
   * The run under way, null while stopped. A run that finds itself replaced is over.
   * @type {Run | null}
   */
  let run = null;

  return { start, stop, leave, cursor: () => cursor };

  function start() {
    if (run !== null) return;
    run = { cancel() {} };
    failures = 0;
    leaving = false;
    void keepPolling(run);
  }

  function stop() {
    const ended = run;
    run = null;
    ended?.cancel();
  }

  function leave() {
    leaving = true;
  }

  /** @param {Run} mine */
  async function keepPolling(mine) {
    while (run === mine) {
      const delay = await poll(mine);
      if (run === mine && delay > 0) await pause(delay, mine);
    }
  }

  /**
   * One poll and its consequences; the delay before the next one.
   * @param {Run} mine
   */
  async function poll(mine) {
    const started = environment.now();
    const mode = options.credentials ?? options.credentialsByOrigin.modeFor(url);
    const answer = await request(mode, mine);
    if (run !== mine || answer === "given up") return 0;
    if (answer === "no answer") return unanswered(mode);
    options.credentialsByOrigin.answered(url, mode);
    const { response, text } = answer;
    if (response.status === 304) {
      arrived(response);
      const held = environment.now() - started >= HELD_AFTER;
      return held ? 0 : nextInterval(options.interval, environment.random);
    }
    if (response.status === 200 && isNews(cursor, response.headers)) {
      arrived(response);
      onMessage(text);
      return 0;
    }
    if (response.status === 200) warnOnce();
    const retryAfter = response.headers.get(RETRY_AFTER);
    return failed(response.status, parseRetryAfter(retryAfter, environment.now()));
  }

  /**
   * @param {import("./environment.js").CredentialsMode} mode
   * @param {Run} mine
   */
  async function request(mode, mine) {
    const controller = new environment.AbortController();
    let givenUp = false;
    mine.cancel = () => controller.abort();
    const held = environment.setTimeout(() => {
      if (run === mine) report("open", null);
    }, HELD_AFTER);
    const deadline = environment.setTimeout(() => {
      givenUp = true;
      controller.abort();
    }, POLL_DEADLINE);
    try {
      const response = await environment.fetch(url, {
        headers: requestHeaders(cursor),
        credentials: mode,
        // The browser's own cache must neither answer nor add conditions. (Any
        // mode that is safe makes Chromium skip its store of preflights too.)
        cache: "no-store",
        signal: controller.signal,
      });
      // Errors are read too: an unread body keeps its connection busy.
      return { response, text: await response.text() };
    } catch {
      return givenUp ? "given up" : "no answer";
    } finally {
      environment.clearTimeout(held);
      environment.clearTimeout(deadline);
      mine.cancel = () => {};
    }
  }

  /** @param {import("./environment.js").ResponseLike} response */
  function arrived({ status: code, headers }) {
    failures = 0;
    leaving = false;
    cursor = cursorAfter(cursor, headers);
    report("open", code);
    if (headers.get(GAP) !== null) onGap();
  }

  /** @param {import("./environment.js").CredentialsMode} mode */
  function unanswered(mode) {
    if (leaving) {
      leaving = false;
      return backOff(1, environment.random);
    }
    if (options.credentials === null && options.credentialsByOrigin.failed(url, mode)) {
      return 0;
    }
    return failed(null, 0);
  }

  /**
   * @param {number | null} code
   * @param {number} retryAfter
   */
  function failed(code, retryAfter) {
    failures += 1;
    report("waiting", code);
    const { random } = environment;
    return delayAfterFailure({ status: code, failures, retryAfter, random });
  }

  function warnOnce() {
    if (warned) return;
    warned = true;
    environment.console.warn(
      `pushserver: ${url} answers 200 without a new message. ` +
        "Is it the URL of a channel, or was the poll redirected to a login page?",
    );
  }

  /**
   * Changes only: a refusal that goes on is reported once.
   * @param {State} next
   * @param {number | null} code
   */
  function report(next, code) {
    const changed = next !== state || (next === "waiting" && code !== status);
    state = next;
    status = code;
    if (changed) onState(next, code);
  }

  /**
   * @param {number} delay
   * @param {Run} mine
   * @returns {Promise<void>}
   */
  function pause(delay, mine) {
    return new Promise((resolve) => {
      const timer = environment.setTimeout(resolve, delay);
      mine.cancel = () => {
        environment.clearTimeout(timer);
        resolve();
      };
    });
  }
}
