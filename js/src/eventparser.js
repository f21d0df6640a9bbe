/**
 * The data of the events in an event stream; the fields and comments that this client
 * does not use are passed over. Lines end with LF or CR LF: the JSON in them has no
 * bare CR. Pure.
 */
export function createEventParser() {
  let rest = "";
  /** @type {string[]} */
  let data = [];

  return { push };

  /**
   * @param {string} text The next piece, cut anywhere.
   * @returns {string[]} The data of each event that it completes.
   */
  function push(text) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    /** @type {string[]} */
    const events = [];
    for (const ended of lines) {
      const line = ended.endsWith("\r") ? ended.slice(0, -1) : ended;
      if (line === "") {
        if (data.length > 0) events.push(data.join("\n"));
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(line[5] === " " ? 6 : 5));
      }
    }
    return events;
  }
}
