import { createWire } from "./wire.js";

/**
 * The link of a page that has its wire to itself.
 * @param {import("./connection.js").ConnectionOptions} options
 * @param {import("./client.js").LinkEvents} events
 * @returns {import("./client.js").Link}
 */
export function linkAlone(options, { onStart, onItems, onCondition }) {
  const ME = "";
  /** @type {ReturnType<typeof createWire> | null} */
  let wire = null;
  return {
    start() {
      wire = createWire({ ...options, onItems, onCondition });
      wire.start();
      onStart();
    },
    stop() {
      wire?.stop();
      wire = null;
    },
    want: (wants) => wire?.want(ME, wants),
    drop: (keys) => wire?.drop(ME, keys),
    setHidden: (hidden) => wire?.setHidden(ME, hidden),
  };
}
