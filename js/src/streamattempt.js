import { createAlarm, parseEntries, post } from "./attempt.js";
import { FIRST_BYTE, RETRY_BASE, SILENCE, parseRetryAfter } from "./delays.js";
import { createEventParser } from "./eventparser.js";
import { RETRY_AFTER } from "./protocol.js";

/**
 * An event stream read with fetch, which unlike EventSource can POST the channels and
 * sees the status of a refusal.
 * @type {import("./attempt.js").Transport}
 */
export function streamAttempt(options) {
  const { environment, onOpen, onEntries, onEnd } = options;
  const controller = new environment.AbortController();
  const silence = createAlarm(environment);
  let over = false;
  silence.set(FIRST_BYTE, () => abandon({ kind: "unfit" }));
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
      const headers = { Accept: "text/event-stream" };
      const response = await post(options, controller.signal, headers);
      const type = response.headers.get("Content-Type") ?? "";
      if (response.status === 200 && /^text\/event-stream\b/i.test(type)) {
        await read(response);
      } else {
        refused(response);
      }
    } catch {
      finish({ kind: "failed", status: null, retryAfter: 0 });
    }
  }

  /** @param {import("./environment.js").ResponseLike} response */
  async function read({ status, body }) {
    if (!body) {
      finish({ kind: "unfit" }); // a browser whose fetch cannot stream
      return;
    }
    const reader = body.getReader();
    const decoder = new TextDecoder();
    const parser = createEventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (over) return;
      if (done) break;
      silence.set(SILENCE, () => abandon({ kind: "silent" }));
      onOpen(status);
      for (const data of parser.push(decoder.decode(value, { stream: true }))) {
        if (over) return;
        onEntries(parseEntries(data) ?? []);
      }
    }
    finish({ kind: "served", pause: RETRY_BASE * environment.random() });
  }

  /** @param {import("./environment.js").ResponseLike} response */
  function refused({ status, headers }) {
    const retryAfter = parseRetryAfter(headers.get(RETRY_AFTER), environment.now());
    // 406: offered here is something else. A 200 of another type is no refusal of
    // the server's, but somebody's page in its place; the poll will tell.
    const unfit = status === 406 || status === 200;
    abandon(unfit ? { kind: "unfit" } : { kind: "failed", status, retryAfter });
  }

  /** @param {import("./attempt.js").End} end */
  function abandon(end) {
    finish(end);
    controller.abort();
  }

  /** @param {import("./attempt.js").End} end */
  function finish(end) {
    if (over) return;
    settle();
    onEnd(end);
  }

  function settle() {
    over = true;
    silence.clear();
  }
}
