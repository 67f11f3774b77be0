// What the server knows, as JSON; and words for people.

export class Refused extends Error {
  constructor(what, remedy, status) {
    super(what);
    this.remedy = remedy;
    this.status = status;
  }
}

async function read(response) {
  let said = null;
  try {
    said = await response.json();
  } catch {
    said = {};
  }
  if (!response.ok) throw new Refused(said.error || `The server answered ${response.status}.`, said.remedy || "", response.status);
  return said;
}

export async function get(path, signal) {
  return read(await fetch(path, { signal, headers: { accept: "application/json" } }));
}

export async function put(path, value) {
  return read(await fetch(path, { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(value) }));
}

/** Answers of one address, asked for again only if they have changed. */
export function renewed(path) {
  let etag = "", last = null;
  return async (signal) => {
    const response = await fetch(path, { signal, cache: "no-store", headers: etag ? { "if-none-match": etag } : {} });
    if (response.status === 304) return last;
    last = await read(response);
    etag = response.headers.get("etag") || "";
    return last;
  };
}

/** An element with text and attributes; text is never markup. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** How far the server is with something that takes time: `show` takes `{done, total}`, or nothing when it is done. */
export function progress(what) {
  const bar = make("progress", { "aria-label": what }), said = make("p", { class: "under" });
  const element = make("div", { class: "progress", hidden: true }, said, bar);
  return {
    element,
    show(so) {
      element.hidden = !so;
      if (!so) return;
      bar.max = so.total || 1;
      bar.value = so.done;
      said.textContent = so.total ? `${what} ${so.done.toLocaleString("en")} of ${count(so.total, "recording")}…` : `${what}…`;
    },
  };
}

/** Only our own addresses become links: what a stranger wrote cannot be one of `javascript:`. */
export function own(link) {
  return typeof link === "string" && /^\/(?!\/)/.test(link) ? link : "#";
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds || 0));
  const pad = (number) => String(number).padStart(2, "0");
  return `${Math.floor(whole / 3600)}:${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
}

export function size(nbytes) {
  let value = nbytes || 0;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return unit === "B" ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

const RECENT = new Intl.DateTimeFormat(undefined, { weekday: "short", month: "short", day: "numeric" });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });

/** The day of a time, with the weekday if it is of this year; an empty text if it is not a time. */
export function day(iso) {
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return "";
  return (moment.getFullYear() === new Date().getFullYear() ? RECENT : DAY).format(moment);
}

export function time(iso) {
  const moment = new Date(iso);
  return Number.isNaN(moment.getTime()) ? "" : TIME.format(moment);
}

/** Text for comparing: without case and accents, as the search index has it. */
export function fold(text) {
  return text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
}

export const PRODUCTS = { meeting: "Meeting", webinar: "Webinar", session: "Video SDK", contact_center: "Contact Center", phone: "Phone" };

export function product(name) {
  return Object.hasOwn(PRODUCTS, name) ? PRODUCTS[name] : (name || "").replaceAll("_", " ");
}
