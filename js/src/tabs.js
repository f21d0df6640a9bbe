import { createAlarm } from "./attempt.js";
import { LEADER_ANSWER, LEADER_CHECK } from "./delays.js";
import { createWire } from "./wire.js";

/** @typedef {ReturnType<typeof createWire>} Wire */

/**
 * The link of a page that shares one wire with the other tabs of its origin.
 *
 * Whoever holds a lock of the browser leads: it has the wire, and passes on what comes.
 * The browser gives the lock to the next when the leader closes, crashes, or lets go
 * because it is frozen or put away. The new leader asks all what they want and from
 * where. Each tab checks by its own cursor that nothing is missing, so what is lost or
 * doubled on the way is asked for again or passed over.
 *
 * Each tab also holds a lock of its own for as long as it lives: the leader waits for
 * it, and so learns of a tab that is gone. And a tab that is shown asks now and then
 * whether the leader is alive; from one that does not answer it takes the lock away.
 *
 * @typedef {{ kind: "lead" } | { kind: "alive" } | { kind: "ask", tab: string }
 *   | { kind: "items", items: import("./wire.js").Item[] }
 *   | { kind: "condition", condition: import("./connection.js").Condition }
 *   | { kind: "want", tab: string, wants: [string, import("./wire.js").Want][] }
 *   | { kind: "drop", tab: string, keys: string[] }
 *   | { kind: "hidden", tab: string, hidden: boolean }} Note
 *
 * @param {import("./connection.js").ConnectionOptions} options
 * @param {string} name Of the group of tabs.
 * @param {import("./client.js").LinkEvents} events
 * @returns {import("./client.js").Link}
 */
export function linkTabs(options, name, { onStart, onItems, onCondition }) {
  const { environment } = options;
  /** @type {Session | null} */
  let session = null;
  let isHidden = false;

  return {
    start() {
      session = begin();
    },
    stop() {
      session?.end();
      session = null;
    },
    want: (wants) => session?.tell({ kind: "want", tab: session.tab, wants }),
    drop: (keys) => session?.tell({ kind: "drop", tab: session.tab, keys }),
    setHidden(hidden) {
      isHidden = hidden;
      session?.tell({ kind: "hidden", tab: session.tab, hidden });
      session?.check();
    },
  };

  /**
   * From start to stop. A tab that returns is a new one to the others.
   * @typedef {{
   *   tab: string, tell(note: Note): void, check(): void, end(): void,
   * }} Session
   * @returns {Session}
   */
  function begin() {
    const tab = `${environment.now()}-${environment.random()}`;
    const locks = /** @type {import("./environment.js").LocksLike} */ (
      environment.locks
    );
    const broadcast = /** @type {NonNullable<typeof environment.openBroadcast>} */ (
      environment.openBroadcast
    )(name);
    const controller = new environment.AbortController();
    /** @type {Wire | null} */
    let wire = null;
    /** @type {Set<string>} */
    let known = new Set([tab]);
    /** Ends the locks that are held. @type {() => void} */
    let release = () => {};
    const ended = new Promise((resolve) => {
      release = () => resolve(undefined);
    });
    let isPresent = false;
    const vigil = createAlarm(environment);
    let isAlive = false;
    /** @type {import("./connection.js").Condition | null} */
    let condition = null;

    broadcast.onmessage = ({ data }) => heard(data);
    hold(`${name}:${tab}`, () => {
      // Before it has its lock a tab would be taken for one that is gone.
      isPresent = true;
      introduce();
      check();
      return ended;
    });
    hold(name, lead);
    return { tab, tell, check, end };

    /**
     * @param {string} lock
     * @param {() => Promise<any>} fn
     * @param {Parameters<typeof locks.request>[1]} [how]
     */
    function hold(lock, fn, how = { signal: controller.signal }) {
      const granted = () => (controller.signal.aborted ? ended : fn());
      locks.request(lock, how, granted).catch(() => {
        if (controller.signal.aborted || lock !== name) return;
        if (wire) retire();
        else void lead(); // refused: the page has no storage of its own
      });
    }

    function end() {
      vigil.clear();
      wire?.stop();
      wire = null;
      broadcast.onmessage = null;
      broadcast.close();
      controller.abort();
      release();
    }

    function lead() {
      if (wire) return ended;
      wire = createWire({
        ...options,
        onItems(items) {
          spread({ kind: "items", items });
          onItems(items);
        },
        onCondition(next) {
          condition = next;
          spread({ kind: "condition", condition });
          onCondition(next);
        },
      });
      wire.start();
      post({ kind: "lead" });
      introduce();
      return ended;
    }

    /** Another tab has taken the lead: this one was thought dead. */
    function retire() {
      wire?.stop();
      wire = null;
      condition = null;
      known = new Set([tab]);
      hold(name, lead);
      introduce();
      check();
    }

    /** While this tab is shown and another leads. */
    function check() {
      vigil.clear();
      if (wire || isHidden || !isPresent) return;
      isAlive = false;
      post({ kind: "ask", tab });
      vigil.set(LEADER_ANSWER, () => {
        if (isAlive) vigil.set(LEADER_CHECK, check);
        else if (!wire) hold(name, lead, { steal: true });
      });
    }

    function introduce() {
      tell({ kind: "hidden", tab, hidden: isHidden });
      onStart();
    }

    /** To the leader, who may be this one. @param {Note} note */
    function tell(note) {
      if (wire) obey(wire, note);
      else if (isPresent) post(note);
    }

    /** @param {Note} note */
    function post(note) {
      broadcast.postMessage(note);
    }

    /** To the others, if there are any: each copy of a message costs. @param {Note} note */
    function spread(note) {
      if (known.size > 1) post(note);
    }

    /** @param {Note} note */
    function heard(note) {
      if (wire) {
        obey(wire, note);
        return;
      }
      isAlive ||= !("tab" in note);
      if (note.kind === "lead") introduce();
      else if (note.kind === "items") onItems(note.items);
      else if (note.kind === "condition") onCondition(note.condition);
    }

    /**
     * @param {Wire} leading
     * @param {Note} note
     */
    function obey(leading, note) {
      if (!("tab" in note)) return;
      if (!known.has(note.tab)) meet(leading, note.tab);
      if (note.kind === "want") leading.want(note.tab, note.wants);
      else if (note.kind === "drop") leading.drop(note.tab, note.keys);
      else if (note.kind === "hidden") leading.setHidden(note.tab, note.hidden);
      else post({ kind: "alive" });
    }

    /**
     * @param {Wire} leading
     * @param {string} other
     */
    function meet(leading, other) {
      known.add(other);
      if (condition) post({ kind: "condition", condition });
      hold(`${name}:${other}`, async () => {
        known.delete(other);
        leading.dropReader(other);
      });
    }
  }
}
