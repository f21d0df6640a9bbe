import { parseEntries } from "./attempt.js";
import { HELD_AFTER, INTERVAL, POLL_DEADLINE } from "./delays.js";
import { sendRequest } from "./request.js";

/**
 * One long poll for all channels: what waits, or what comes within the time that the
 * server holds it.
 * @type {import("./attempt.js").Transport}
 */
export function pollAttempt(options) {
  const { environment, onOpen, onEntries } = options;
  const started = environment.now();
  const request = sendRequest(options, {}, read);
  const { alarm, isOver, refused, finish } = request;
  alarm.set(HELD_AFTER, () => {
    alarm.set(POLL_DEADLINE - HELD_AFTER, () => finish({ kind: "silent" }));
    onOpen(null);
  });
  return request;

  /** @param {import("./environment.js").ResponseLike} response */
  async function read(response) {
    const { status } = response;
    const text = await response.text();
    if (isOver()) return;
    const entries = status === 200 ? parseEntries(text) : null;
    if (entries === null) {
      refused(response);
      return;
    }
    const elapsed = environment.now() - started;
    onOpen(status);
    if (!isOver()) onEntries(entries);
    // What is answered at once and empty was not held: a loop would have no brake.
    const wasHeld = entries.length > 0 || elapsed >= HELD_AFTER;
    finish({ kind: "served", pause: wasHeld ? 0 : INTERVAL });
  }
}
