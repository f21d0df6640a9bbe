import { createAlarm } from "./attempt.js";
import { parseRetryAfter } from "./delays.js";
import { RETRY_AFTER } from "./protocol.js";

/**
 * An attempt that is one POST of the channels. How its answer is read, and what the
 * alarm is for, is the transport's.
 *
 * It is over with `finish` or with `close`, whichever comes first; `read` is not called
 * after that, and has to ask `isOver` after each wait of its own.
 * @param {import("./attempt.js").AttemptOptions} options
 * @param {Record<string, string>} headers
 * @param {(response: import("./environment.js").ResponseLike) => Promise<void>} read
 */
export function sendRequest(options, headers, read) {
  const { url, channels, credentials, environment, onEnd } = options;
  const controller = new environment.AbortController();
  const alarm = createAlarm(environment);
  let over = false;
  // Later: who calls has to know the request before it can be over.
  void Promise.resolve().then(run);

  return { alarm, isOver: () => over, refused, finish, close, send: () => false };

  async function run() {
    try {
      const response = await environment.fetch(url, {
        method: "POST",
        // As text/plain, which is what fetch calls a string, it needs no preflight.
        body: JSON.stringify(channels),
        headers,
        credentials,
        cache: "no-store",
        signal: controller.signal,
      });
      if (!over) await read(response);
    } catch {
      finish({ kind: "failed", status: null, retryAfter: 0 });
    }
  }

  /** @param {import("./environment.js").ResponseLike} response */
  function refused({ status, headers }) {
    const retryAfter = parseRetryAfter(headers.get(RETRY_AFTER), environment.now());
    finish({ kind: "failed", status, retryAfter });
  }

  /** @param {import("./attempt.js").End} end */
  function finish(end) {
    if (over) return;
    close();
    onEnd(end);
  }

  function close() {
    over = true;
    alarm.clear();
    controller.abort();
  }
}
