import { parseEntries } from "./attempt.js";
import { FIRST_BYTE, RETRY_BASE, SILENCE } from "./delays.js";
import { createEventParser } from "./eventparser.js";
import { sendRequest } from "./request.js";

/**
 * An event stream read with fetch, which unlike EventSource can POST the channels and
 * sees the status of a refusal.
 * @type {import("./attempt.js").Transport}
 */
export function streamAttempt(options) {
  const { environment, onOpen, onEntries } = options;
  const request = sendRequest(options, { Accept: "text/event-stream" }, read);
  const { alarm, isOver, refused, finish } = request;
  alarm.set(FIRST_BYTE, () => finish({ kind: "unfit" }));
  return request;

  /** @param {import("./environment.js").ResponseLike} response */
  async function read(response) {
    const { status, headers } = response;
    const type = headers.get("Content-Type") ?? "";
    if (status === 200 && /^text\/event-stream\b/i.test(type)) {
      await follow(response);
    } else if (status === 200 || status === 406) {
      // 406: offered here is something else. A 200 of another type is no refusal of
      // the server's, but somebody's page in its place; the poll will tell.
      finish({ kind: "unfit" });
    } else {
      refused(response);
    }
  }

  /** @param {import("./environment.js").ResponseLike} response */
  async function follow({ status, body }) {
    if (!body) {
      finish({ kind: "unfit" }); // a browser whose fetch cannot stream
      return;
    }
    const reader = body.getReader();
    const decoder = new TextDecoder();
    const parser = createEventParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (isOver()) return;
      if (done) break;
      alarm.set(SILENCE, () => finish({ kind: "silent" }));
      onOpen(status);
      for (const data of parser.push(decoder.decode(value, { stream: true }))) {
        if (isOver()) return;
        onEntries(parseEntries(data) ?? []);
      }
    }
    finish({ kind: "served", pause: RETRY_BASE * environment.random() });
  }
}
