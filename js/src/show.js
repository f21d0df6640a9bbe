/**
 * A value in an error message.
 * @param {unknown} value
 */
export function show(value) {
  return typeof value === "string" ? `"${value}"` : String(value);
}
