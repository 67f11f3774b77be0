// The shell: which page is shown, where the focus goes, and the keys that work everywhere.

import { get } from "./api.js";
import * as recordings from "./recordings.js";
import * as search from "./search.js";

const main = document.getElementById("main");
const said = document.getElementById("said");
const lost = document.getElementById("lost");
const help = document.getElementById("help");
let end = null, feed = null, visit = 0;

const shell = {
  about: null,
  /** The connection to what runs; made when a page asks for it. */
  get feed() {
    if (!feed) throw new Error("the live pages make it first");
    return feed;
  },
  go(url) {
    if (new URL(url, location.href).pathname.startsWith("/recordings/")) location.assign(url);
    else {
      history.pushState(null, "", url);
      show(true);
    }
  },
  /** Keep the state of a page in its address without a step in the history. */
  note(url) {
    history.replaceState(null, "", url);
  },
  announce(text) {
    said.textContent = "";
    requestAnimationFrame(() => (said.textContent = text));
  },
  title(text) {
    document.title = text ? `${text} · rtms` : "rtms";
  },
  /** Say that the server cannot be reached; an empty text says that it can. */
  lost(text) {
    if (lost.textContent === text) return;
    lost.hidden = !text;
    lost.textContent = text;
  },
  running(number) {
    const badge = document.getElementById("running");
    badge.hidden = !number;
    badge.textContent = number ? String(number) : "";
  },
};

async function live() {
  const [overview, stream, connection] = await Promise.all([import("./live.js"), import("./stream.js"), import("./feed.js")]);
  if (!feed) {
    feed = new connection.Feed();
    feed.subscribe((kind) => {
      if (kind !== "picture" && kind !== "state") return;
      shell.running(feed.recorder === "yes" ? feed.picture.streams.length : 0);
      if (feed.state === "lost" && page() === "live") shell.lost("The server does not answer. This page tries again by itself.");
      else if (feed.state === "connected") shell.lost("");
    });
  }
  return { overview, stream };
}

function page() {
  const path = location.pathname;
  return path.startsWith("/recordings") ? "recordings" : path.startsWith("/search") ? "search" : "live";
}

async function show(isVisit) {
  const mine = ++visit;
  const path = location.pathname;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.page === page()) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  let view, params = new URLSearchParams(location.search);
  if (page() === "recordings") view = recordings;
  else if (page() === "search") view = search;
  else {
    const { overview, stream } = await live();
    const id = path.startsWith("/live/") ? decodeURIComponent(path.slice("/live/".length)) : "";
    view = id ? stream : overview;
    if (id) params = { id };
  }
  if (mine !== visit) return;
  if (end) end();
  end = null;
  main.replaceChildren();
  end = view.show(main, params, shell) || null;
  if (isVisit) {
    const heading = main.querySelector("h1");
    if (heading) {
      heading.tabIndex = -1;
      heading.focus();
    } else main.focus();
    scrollTo(0, 0);
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href, location.href);
  if (url.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (/^\/(live|recordings|search)?(\/|$)/.test(url.pathname) && !/^\/recordings\/./.test(url.pathname) && !url.hash) {
    event.preventDefault();
    shell.go(url.href);
  }
});

let isGoing = 0;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const field = event.target.closest("input, select, textarea, dialog");
  if (field) {
    if (event.key === "Escape" && field.matches("input, select") && !event.isComposing) field.blur();
    return;
  }
  const now = performance.now();
  if (event.key === "g") {
    isGoing = now;
    return;
  }
  if (now - isGoing < 1500 && (event.key === "l" || event.key === "r")) {
    isGoing = 0;
    event.preventDefault();
    shell.go(event.key === "l" ? "/live" : "/recordings");
  } else if (event.key === "/") {
    event.preventDefault();
    const field = main.querySelector("input[type=search]");
    if (field && location.pathname !== "/live") field.focus();
    else shell.go("/search");
  } else if (event.key === "?") {
    event.preventDefault();
    help.showModal();
  }
});
document.getElementById("keys").addEventListener("click", () => help.showModal());
addEventListener("popstate", () => show(true));

async function begin() {
  try {
    shell.about = await get("/api/about");
  } catch (error) {
    shell.about = { place: null, can_search: true, control: false, has_live: false };
    shell.lost(`${error.message} ${error.remedy || ""}`);
  }
  if (location.pathname === "/") shell.note(shell.about.has_live ? "/live" : "/recordings");
  await show(false);
  live().catch(() => {}); // the number of running streams is in the bar on every page
}

begin();
