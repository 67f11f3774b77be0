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

const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const THIS_YEAR = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export function day(iso) {
  const moment = new Date(iso);
  if (Number.isNaN(moment.getTime())) return "";
  return (moment.getFullYear() === new Date().getFullYear() ? THIS_YEAR : DAY).format(moment);
}

export function time(iso) {
  const moment = new Date(iso);
  return Number.isNaN(moment.getTime()) ? "" : TIME.format(moment);
}

export const PRODUCTS = { meeting: "Meeting", webinar: "Webinar", video_sdk: "Video SDK", contact_center: "Contact Center", phone: "Phone" };

export function product(name) {
  return PRODUCTS[name] || (name ? name.replaceAll("_", " ") : "");
}
