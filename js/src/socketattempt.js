import { createAlarm, parseEntries } from "./attempt.js";
import { FIRST_BYTE, RETRY_BASE, SILENCE } from "./delays.js";

/** What a close code says in the words of HTTP; any other is a cut. */
const STATUS = new Map([
  [1008, 403], // policy: not for you
  [1013, 503], // try again later
  [4503, 503],
]);
/** Our own word for it, and what servers say when they stop or start again. */
const COME_BACK = new Set([4000, 1001, 1012]);

/**
 * A WebSocket: the one transport that takes further channels while it is open.
 * @type {import("./attempt.js").Transport}
 */
export function socketAttempt(options) {
  const { url, channels, environment, onOpen, onEntries, onEnd } = options;
  const silence = createAlarm(environment);
  const open = /** @type {NonNullable<typeof environment.openSocket>} */ (
    environment.openSocket
  );
  const socket = open(url.replace(/^http/, "ws"));
  let isOpen = false;
  let heard = false;
  /** @type {import("./attempt.js").Frame[]} */
  const waiting = [{ subscribe: channels }];
  socket.onopen = () => {
    isOpen = true;
    for (const frame of waiting) send(frame);
  };
  socket.onmessage = ({ data }) => {
    heard = true;
    silence.set(SILENCE, () => finish({ kind: "silent" }));
    onOpen(null);
    if (socket.onmessage) onEntries(parseEntries(String(data)) ?? []);
  };
  // A handshake that fails does not tell why.
  socket.onclose = ({ code }) => finish(heard ? ended(code) : { kind: "unfit" });
  silence.set(FIRST_BYTE, () => finish({ kind: "unfit" }));

  return { send, close };

  /** @param {import("./attempt.js").Frame} frame */
  function send(frame) {
    if (isOpen) socket.send(JSON.stringify(frame));
    else waiting.push(frame);
    return true;
  }

  function close() {
    silence.clear();
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  /**
   * @param {number} code
   * @returns {import("./attempt.js").End}
   */
  function ended(code) {
    return COME_BACK.has(code)
      ? { kind: "served", pause: RETRY_BASE * environment.random() }
      : { kind: "failed", status: STATUS.get(code) ?? null, retryAfter: 0 };
  }

  /** @param {import("./attempt.js").End} end */
  function finish(end) {
    close();
    onEnd(end);
  }
}
