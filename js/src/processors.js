/** Which functions get the updates of a channel, by the update's `type`. */

/**
 * What `send_update` sent: a JSON object, usually with a `type`.
 * @typedef {Record<string, unknown>} Update
 * @typedef {(update: any) => void} Processor
 */

/**
 * Above this many different warnings a channel is silent: its types may be
 * generated, and each one is remembered.
 */
const WARNINGS_PER_CHANNEL = 100;

/**
 * @param {Pick<Console, "warn" | "error">} console
 */
export function createProcessors(console) {
  /** @type {Map<string, Map<string, Set<{ fn: Processor }>>>} */
  const channels = new Map();
  /** @type {Map<string, Set<string>>} */
  const warnings = new Map();

  return { register, deliver, deliverValue };

  /**
   * Returns a function that takes the registration back. Registering a function
   * twice means that it is called twice.
   * @param {string} name
   * @param {string} type
   * @param {Processor} fn
   */
  function register(name, type, fn) {
    const types = setDefault(channels, name, () => new Map());
    const registrations = setDefault(types, type, () => new Set());
    const registration = { fn };
    registrations.add(registration);
    return () => {
      registrations.delete(registration);
    };
  }

  /**
   * Call the processors of one message, one after the other in the order they were
   * registered. Never throws.
   * @param {string} name
   * @param {string} text
   */
  function deliver(name, text) {
    deliverValue(name, parse(text));
  }

  /**
   * @param {string} name
   * @param {unknown} update undefined for what is not JSON
   */
  function deliverValue(name, update) {
    if (update === undefined) {
      warnOnce(name, "a message that is not JSON");
    } else if (!isUpdate(update)) {
      warnOnce(name, "a message that is JSON, but no object");
    } else {
      process(name, update);
    }
  }

  /**
   * @param {string} name
   * @param {Update} update
   */
  function process(name, update) {
    const { type } = update;
    const registrations =
      typeof type === "string" ? channels.get(name)?.get(type) : undefined;
    if (!registrations?.size) {
      const told = type === undefined ? "no type" : `type ${JSON.stringify(type)}`;
      warnOnce(name, `an update with ${told}, which no processor is registered for`);
      return;
    }
    for (const { fn } of [...registrations]) {
      try {
        fn(update);
      } catch (error) {
        console.error(`pushserver: a processor of channel "${name}" failed:`, error);
      }
    }
  }

  /**
   * @param {string} name
   * @param {string} what
   */
  function warnOnce(name, what) {
    const given = setDefault(warnings, name, () => new Set());
    if (given.has(what) || given.size >= WARNINGS_PER_CHANNEL) return;
    given.add(what);
    console.warn(`pushserver: channel "${name}": skipped ${what}`);
  }
}

/**
 * @param {string} text
 * @returns {unknown} undefined, which no JSON text gives, when it is not JSON
 */
function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * @param {unknown} value
 * @returns {value is Update}
 */
function isUpdate(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * @template K, V
 * @param {Map<K, V>} map
 * @param {K} key
 * @param {() => V} create
 * @returns {V}
 */
function setDefault(map, key, create) {
  const known = map.get(key);
  if (known !== undefined) return known;
  const created = create();
  map.set(key, created);
  return created;
}
