import { browserEnvironment } from "./environment.js";
import { createUpdates } from "./updates.js";

/**
 * The classic script: `pushserver.updates` for any page, `$.updates` for one that
 * has loaded jQuery. Loaded twice, or for a second jQuery, it is the same client:
 * a second one would poll each channel once more.
 */

/** @type {any} */
const global = window;

// An element with the id "pushserver" shows up as a property too, but not an own one.
const known = Object.prototype.hasOwnProperty.call(global, "pushserver")
  ? global.pushserver
  : (global.pushserver = {});
known.updates ??= createUpdates(browserEnvironment(window));
if (global.jQuery) global.jQuery.updates = known.updates;
