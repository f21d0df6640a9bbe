import { createAlarm, parseEntries, post } from "./attempt.js";
import { HELD_AFTER, INTERVAL, POLL_DEADLINE, parseRetryAfter } from "./delays.js";
import { RETRY_AFTER } from "./protocol.js";

/**
 * One long poll for all channels: what waits, or what comes within the time that the
 * server holds it.
 * @type {import("./attempt.js").Transport}
 */
export function pollAttempt(options) {
  const { environment, onOpen, onEntries, onEnd } = options;
  const controller = new environment.AbortController();
  const held = createAlarm(environment);
  const deadline = createAlarm(environment);
  const started = environment.now();
  let over = false;
  held.set(HELD_AFTER, () => onOpen(null));
  deadline.set(POLL_DEADLINE, () => {
    finish({ kind: "silent" });
    controller.abort();
  });
  void run();

  return {
    send: () => false,
    close() {
      settle();
      controller.abort();
    },
  };

  async function run() {
    try {
      const response = await post(options, controller.signal, {});
      const text = await response.text();
      if (!over) answered(response, text);
    } catch {
      finish({ kind: "failed", status: null, retryAfter: 0 });
    }
  }

  /**
   * @param {import("./environment.js").ResponseLike} response
   * @param {string} text
   */
  function answered({ status, headers }, text) {
    const entries = status === 200 ? parseEntries(text) : null;
    const now = environment.now();
    if (entries === null) {
      const retryAfter = parseRetryAfter(headers.get(RETRY_AFTER), now);
      finish({ kind: "failed", status, retryAfter });
      return;
    }
    onOpen(status);
    if (!over) onEntries(entries);
    // What is answered at once and empty was not held: a loop would have no brake.
    const wasHeld = entries.length > 0 || now - started >= HELD_AFTER;
    finish({ kind: "served", pause: wasHeld ? 0 : INTERVAL });
  }

  /** @param {import("./attempt.js").End} end */
  function finish(end) {
    if (over) return;
    settle();
    onEnd(end);
  }

  function settle() {
    over = true;
    held.clear();
    deadline.clear();
  }
}
