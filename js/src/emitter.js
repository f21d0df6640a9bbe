/**
 * Who wants to hear of what. A callback that throws is reported in the console and
 * harms nobody else.
 * @template {Record<string, any>} Events By type.
 * @param {Pick<Console, "error">} console
 */
export function createEmitter(console) {
  /** @type {Map<keyof Events, Set<{ fn: (event: any) => void }>>} */
  const listeners = new Map();

  return { on, emit, guard };

  /**
   * Returns a function that ends it. Listening twice means being called twice.
   * @template {keyof Events} T
   * @param {T} type
   * @param {(event: Events[T]) => void} fn
   */
  function on(type, fn) {
    const listener = { fn };
    const those = listeners.get(type) ?? new Set();
    listeners.set(type, those.add(listener));
    return () => {
      those.delete(listener);
    };
  }

  /**
   * @template {keyof Events} T
   * @param {T} type
   * @param {Events[T]} event
   */
  function emit(type, event) {
    for (const { fn } of [...(listeners.get(type) ?? [])]) guard(() => fn(event));
  }

  /** @param {() => void} call */
  function guard(call) {
    try {
      call();
    } catch (error) {
      console.error("pushserver: a callback failed:", error);
    }
  }
}
