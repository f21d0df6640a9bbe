import { createAlarm } from "./attempt.js";
import {
  HIDDEN_AFTER,
  HIDDEN_PAUSE,
  RETRY_CAP,
  STEADY,
  backOff,
  delayAfterFailure,
  nextInterval,
} from "./delays.js";

/**
 * - `connecting`: nothing was answered yet
 * - `open`: answers come, or a request is being held
 * - `waiting`: the last attempt failed, the next one comes by itself
 * - `offline`: as `waiting`, and the browser says that there is no network
 * - `closed`: for good
 * @typedef {"connecting" | "open" | "waiting" | "offline" | "closed"} ClientState
 *
 * @typedef {{ state: ClientState, status: number | null }} Condition `status` is the
 *   HTTP status of the last answer, null when there was none.
 */

/**
 * @typedef {{
 *   url: string,
 *   transports: Partial<Record<
 *     import("./attempt.js").TransportName, import("./attempt.js").Transport>>,
 *   choice: ReturnType<typeof import("./choice.js").createChoice>,
 *   credentials: import("./environment.js").CredentialsMode | null,
 *   credentialsByOrigin: import("./credentials.js").Credentials,
 *   environment: import("./environment.js").Environment,
 * }} ConnectionOptions `credentials` null means: find out.
 */

/**
 * One connection, kept: an attempt after the other, by the transport that gets through.
 * Callbacks must not throw.
 * @param {ConnectionOptions & {
 *   channels(): import("./attempt.js").Channels | null,
 *   onEntries(entries: import("./attempt.js").Entry[]): void,
 *   onCondition(condition: Condition): void,
 * }} options `channels` says what to ask for when an attempt begins, null for nothing.
 */
export function createConnection(options) {
  const { url, environment, choice, credentialsByOrigin } = options;
  const pause = createAlarm(environment);
  const hiding = createAlarm(environment);
  /** @type {import("./attempt.js").Attempt | null} */
  let attempt = null;
  /** Whether an end of the pause may come early: not where the server set it. */
  let cuttable = true;
  let running = false;
  let leaving = false;
  let cheap = false;
  let failures = 0;
  /** @type {Condition} */
  let condition = { state: "connecting", status: null };
  /** @type {(() => void)[]} */
  let listeners = [];

  return { start, stop, refresh, send, setHidden };

  function start() {
    running = true;
    failures = 0;
    leaving = false;
    listeners = [
      environment.addEventListener("online", wake),
      environment.addEventListener("offline", lost),
      environment.addEventListener("beforeunload", () => {
        leaving = true;
      }),
    ];
    open();
  }

  function stop() {
    running = false;
    for (const remove of listeners) remove();
    hiding.clear();
    end();
  }

  /** Ask anew, for other channels; a server that asked for a pause gets it first. */
  function refresh() {
    if (running && (attempt || cuttable)) open();
  }

  /** @param {import("./attempt.js").Frame} frame */
  function send(frame) {
    return attempt?.send(frame) ?? false;
  }

  /** @param {boolean} hidden */
  function setHidden(hidden) {
    hiding.clear();
    if (hidden) {
      hiding.set(HIDDEN_AFTER, () => {
        cheap = true;
        refresh();
      });
    } else if (cheap || !attempt) {
      cheap = false;
      wake();
    }
  }

  /** What was worth waiting for may be over. */
  function wake() {
    if (!running || !(attempt || cuttable)) return;
    failures = 0;
    if (condition.state === "offline") report("connecting", null);
    open();
  }

  function lost() {
    if (!running) return;
    end();
    report("offline", null);
    // The browser may be mistaken, as it is about a server on this machine.
    rest(RETRY_CAP * (1 + environment.random()), true);
  }

  function end() {
    pause.clear();
    attempt?.close();
    attempt = null;
  }

  function open() {
    end();
    cuttable = true;
    const channels = options.channels();
    if (channels === null) return;
    const name = choice.pick(cheap);
    const transport = options.transports[name];
    const credentials = options.credentials ?? credentialsByOrigin.modeFor(url);
    /** @type {number | null} */
    let since = null;
    attempt = /** @type {import("./attempt.js").Transport} */ (transport)({
      url,
      channels,
      credentials,
      environment,
      onOpen(status) {
        since ??= environment.now();
        leaving = false;
        choice.worked(name);
        credentialsByOrigin.answered(url, credentials);
        report("open", status);
      },
      onEntries: options.onEntries,
      onEnd(ended) {
        attempt = null;
        if (since !== null && environment.now() - since >= STEADY) failures = 0;
        proceed(ended, name, credentials);
      },
    });
  }

  /**
   * @param {import("./attempt.js").End} ended
   * @param {import("./attempt.js").TransportName} name
   * @param {import("./environment.js").CredentialsMode} credentials
   */
  function proceed(ended, name, credentials) {
    if (ended.kind === "served") {
      failures = name === "long-poll" ? 0 : failures;
      const least = cheap ? nextInterval(HIDDEN_PAUSE, environment.random) : 0;
      rest(Math.max(ended.pause, least), true);
    } else if (ended.kind === "silent") {
      rest(0, true);
    } else if (ended.kind === "unfit") {
      if (choice.suspect(name)) rest(0, true);
      else failed(null, 0);
    } else if (ended.status !== null) {
      failed(ended.status, ended.retryAfter);
    } else if (leaving) {
      // Some browsers cut requests off before the page hears that it is hidden.
      leaving = false;
      rest(backOff(1, environment.random), true);
    } else if (!options.credentials && credentialsByOrigin.failed(url, credentials)) {
      rest(0, true);
    } else {
      failed(null, 0);
    }
  }

  /**
   * @param {number | null} status
   * @param {number} retryAfter
   */
  function failed(status, retryAfter) {
    failures += 1;
    if (status === null) choice.absolve(); // nothing gets through: the server is down
    const offline = status === null && !environment.isOnline();
    report(offline ? "offline" : "waiting", status);
    const { random } = environment;
    const delay = delayAfterFailure({ status, failures, retryAfter, random });
    rest(delay, retryAfter === 0 && status !== 401 && status !== 403);
  }

  /**
   * @param {number} delay
   * @param {boolean} mayBeCut
   */
  function rest(delay, mayBeCut) {
    cuttable = mayBeCut;
    if (!running) return;
    if (delay > 0) pause.set(delay, open);
    else open();
  }

  /**
   * Changes only: a refusal that goes on is reported once.
   * @param {ClientState} state
   * @param {number | null} status
   */
  function report(state, status) {
    const reason = state === "waiting" && status !== condition.status;
    const changed = state !== condition.state || reason;
    condition = { state, status };
    if (changed) options.onCondition(condition);
  }
}
