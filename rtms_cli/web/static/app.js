// The shell: which page is shown, where the focus goes, and the keys that work everywhere.

import { get } from "./api.js";
import * as recordings from "./recordings.js";
import * as search from "./search.js";

const main = document.getElementById("main");
const said = document.getElementById("said");
const lost = document.getElementById("lost");
const help = document.getElementById("help");
const AGAIN_MS = 3000;
const LOST = "The server does not answer. This page tries again by itself.";
let end = null, feed = null, visit = 0, shown = "";

const shell = {
  about: null,
  /** The connection to what runs; made when a page asks for it. */
  get feed() {
    if (!feed) throw new Error("the live pages make it first");
    return feed;
  },
  LOST,
  go(url) {
    if (new URL(url, location.href).pathname.startsWith("/recordings/")) location.assign(url);
    else {
      history.pushState(null, "", url);
      show(true);
    }
  },
  /** Keep the state of a page in its address without a step in the history; what is not for the address goes beside it. */
  note(url, beside = null) {
    history.replaceState(beside, "", url);
    shown = location.pathname + location.search;
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
      if (feed.recorder !== "unknown") shell.about.has_live = feed.recorder === "yes";
      shell.running(feed.recorder === "yes" ? feed.picture.streams.length : 0);
      if (feed.state === "lost" && page() === "live") shell.lost(LOST);
      else if (feed.state === "connected") shell.lost("");
    });
  }
  return { overview, stream };
}

function page() {
  const path = location.pathname;
  return path.startsWith("/recordings") ? "recordings" : path.startsWith("/search") ? "search" : "live";
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
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
    let overview, stream;
    try {
      ({ overview, stream } = await live());
    } catch {
      if (mine !== visit) return; // the files of the page could not be loaded
      shell.lost(LOST);
      setTimeout(() => mine === visit && show(isVisit), AGAIN_MS);
      return;
    }
    const id = path.startsWith("/live/") ? decoded(path.slice("/live/".length)) : "";
    view = id ? stream : overview;
    if (id) params = { id };
  }
  if (mine !== visit) return;
  if (end) end();
  end = null;
  shown = location.pathname + location.search;
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

/** Empty a search field first: a browser that does so itself would not tell the page. */
function leave(field, event) {
  if (field.type !== "search" || !field.value) return field.blur();
  event.preventDefault();
  field.value = "";
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

let going = -Infinity;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const field = event.target.closest("input, select, textarea, dialog[open]"); // a closed one may have the focus until the next frame
  if (field) {
    if (event.key === "Escape" && field.matches("input, select") && !event.isComposing) leave(field, event);
    return;
  }
  const now = performance.now();
  if (!["g", "l", "r"].includes(event.key)) going = -Infinity;
  if (event.key === "g") {
    going = now;
    return;
  }
  if (now - going < 1500 && (event.key === "l" || event.key === "r")) {
    going = -Infinity;
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
addEventListener("popstate", () => {
  if (location.pathname + location.search !== shown) show(true); // not for the link to the content
});

async function about() {
  for (;;) {
    try {
      const found = await get("/api/about");
      shell.lost("");
      return found;
    } catch (error) {
      shell.lost(error.status ? `${error.message} ${error.remedy}` : LOST);
      await new Promise((again) => setTimeout(again, AGAIN_MS));
    }
  }
}

async function begin() {
  shell.about = await about();
  if (location.pathname === "/") shell.note(shell.about.has_live ? "/live" : "/recordings");
  await show(false);
  live().catch(() => {}); // the number of running streams is in the bar on every page
}

begin();
