import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { JSDOM } from "jsdom";

import { createScene } from "./scene.js";

const file = new URL("../../pushserver/static/pushserver/push.js", import.meta.url);
/** The built module: as a data URL it is one, whatever node makes of its name. */
const built = await import(
  `data:text/javascript,${encodeURIComponent(readFileSync(file, "utf8"))}`
);
const { environment } = createScene().open();

test("the built module has connect and readConfig", async () => {
  assert.deepEqual(Object.keys(built).sort(), ["connect", "readConfig"]);
});

test("the built module listens in the environment of a page", async (t) => {
  const scene = createScene({ random: () => 0.5 });
  const { window } = new JSDOM("", { url: "https://page.example/" });
  t.after(() => window.close());
  const html = `<script id="push-config" type="application/json">
    {"multiplex": "/updates", "channels": {"a": {"since": null}}, "transports": ["long-poll"]}
  </script>`;
  window.document.body.innerHTML = html;
  /** @type {any} */
  const global = globalThis;
  /** @type {any} */
  const page = window;
  page.fetch = scene.server.fetch;
  page.AbortController = AbortController; // node's: its signal is the one that fetch gets
  Object.assign(global, { window, document: window.document });
  t.after(() => {
    delete global.window;
    delete global.document;
  });
  const client = built.connect();
  const heard = new Promise((resolve) => client.subscribe("a", resolve));
  setTimeout(() => scene.server.publish("a", "hello"), 20);
  assert.equal(await heard, "hello");
  assert.equal(scene.server.requests[0]?.url, "https://page.example/updates");
  window.dispatchEvent(new window.Event("pagehide"));
  assert.equal(scene.server.connections(), 0);
  client.close();
  assert.throws(() => built.readConfig("other"), /no element with the id "other"/);
});

const fn = () => {};
for (const [config, message] of /** @type {[any, RegExp][]} */ ([
  [null, /an object, not null/],
  ["/updates", /an object, not "\/updates"/],
  [{ multiplex: "/updates", channel: "a" }, /no channel$/],
  [{}, /multiplex must be the URL of a multiplex location, not undefined/],
  [{ multiplex: null }, /not null; without one, use \$\.updates/],
  [{ multiplex: "http://[" }, /multiplex must be the URL/],
  [{ multiplex: "ftp://page.example/" }, /multiplex must be the URL/],
  [{ multiplex: "/updates", transports: "websocket" }, /a list out of websocket/],
  [{ multiplex: "/updates", transports: ["sse"] }, /not sse/],
  [{ multiplex: "/updates", share: 1 }, /share must be true, false or the name/],
  [{ multiplex: "/updates", credentials: true }, /auto, include, omit/],
  [{ multiplex: "/updates", token: "t" }, /token must be a function/],
])) {
  test(`a configuration that is wrong is refused: ${message}`, () => {
    assert.throws(() => built.connect(config, environment), {
      name: "TypeError",
      message,
    });
  });
}

for (const [channel, handlers, message] of /** @type {[any, any, RegExp][]} */ ([
  ["", fn, /expected the id of a channel.*not ""/],
  [7, fn, /not 7/],
  [null, fn, /not null/],
  [{}, fn, /expected the id/],
  [{ channel: 7, url: "/a" }, fn, /expected the id/],
  [{ url: "https://elsewhere.example/a" }, fn, /is not at https:\/\/page\.example/],
  ["a", undefined, /a function or \{onMessage, onGap, onError\}/],
  ["a", { onMessage: 1 }, /of functions/],
  ["a", { onmessage: fn }, /of functions/],
])) {
  test(`a subscription that is wrong is refused: ${JSON.stringify(channel)}`, () => {
    const client = built.connect({ multiplex: "/updates", share: false }, environment);
    assert.throws(() => client.subscribe(channel, handlers), {
      name: "TypeError",
      message,
    });
    client.close();
  });
}
