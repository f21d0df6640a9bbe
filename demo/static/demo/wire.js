/** The log of what the polls bring, read from the answers beside the client. */

import { page } from "./page.js";

const ROWS = 60;
const LOADED = Date.now();

const url = new URL(page.url, location.href).href;
const rows = document.getElementById("wire");
const { fetch } = window;

window.fetch = async (resource, options) => {
  const response = await fetch(resource, options);
  if (response.url === url) show(response.clone());
  return response;
};

async function show(response) {
  const id = response.headers.get("ETag")?.replaceAll('"', "") ?? "";
  const body = await response.text();
  // An id begins with the time at which the message was sent, in milliseconds.
  const sent = response.status === 200 ? Number.parseInt(id, 10) : Date.now();
  const row = document.createElement("tr");
  row.dataset.status = response.status;
  row.dataset.age = sent < LOADED ? "old" : "new";
  row.append(
    cell(new Date(sent).toLocaleTimeString("en-GB")),
    cell(response.status),
    cell(id),
    cell(body || "nothing new"),
  );
  rows.prepend(row);
  rows.children[ROWS]?.remove();
}

function cell(text) {
  const element = document.createElement("td");
  element.textContent = text;
  return element;
}
