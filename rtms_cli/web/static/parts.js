/* Small pieces of the live pages: elements, numbers as text, meters, lines of what happened. Text is text, never HTML. */

import { clock, size } from "./api.js";

export { clock, size };

export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  return element;
}

/* Names and words of others: their direction of writing must not turn ours round. */
export function foreign(tag, className, text) {
  const element = make(tag, className, text);
  element.dir = "auto";
  return element;
}

/* A line of what is wrong, with the time of it and a link to its stream where there are such. */
export function alarm(grade, text, at = "", link = null) {
  const item = make("li", grade);
  item.append(make("span", "sign", grade === "bad" ? "✗" : "!"));
  if (at) item.append(make("time", "", at));
  if (link) item.append(link);
  item.append(foreign("span", "why", text));
  return item;
}

/* Change a text only where it is another one, so that nothing is laid out anew. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

export const count = (number) => number.toLocaleString("en-US");
export const many = (number, one, more = `${one}s`) => `${count(number)} ${number === 1 ? one : more}`;
export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1).replaceAll("_", " ");

/* 0.3 s, 12 s, 0:12:30 */
export const spoken = (seconds) =>
  seconds < 9.95 ? `${seconds.toFixed(1)} s` : seconds < 119.5 ? `${Math.round(seconds)} s` : clock(seconds);

/* The local time of day of an ISO time. */
export function timeOfDay(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? "" : date.toLocaleTimeString("en-GB");
}

export const rate = (number) => (number >= 9.95 ? count(Math.round(number)) : number.toFixed(number && number < 0.95 ? 1 : 0));

export const live = (id) => `/live/${encodeURIComponent(id)}`;
export const recording = (name) => `/recordings/${encodeURIComponent(name)}`;
export const titleOf = (row) => [capital(row.product).replace(/ sdk\b/, " SDK"), row.id].filter(Boolean).join(" ");

/* A state in a word, with a sign and a grade. */
export function stateOf(state, isShort = false) {
  switch (state) {
    case "streaming": return ["●", "streaming", "good"];
    case "connecting": return ["◌", "connecting", "warn"];
    case "lost": return ["✗", isShort ? "lost" : "lost, coming back", "bad"];
    case "ending": return ["○", "ending", ""];
    default: return ["◌", state, "warn"];
  }
}

export function putBadge(badge, sign, word, grade) {
  put(badge, `${sign} ${word}`);
  const className = `badge ${grade}`.trim();
  if (badge.className !== className) badge.className = className;
}

/* A server asks every 10 s, and cuts the connection after three requests without an answer. */
const LATE_S = 20, LOST_S = 45;

export function keepAliveGrade(keepAlives) {
  const missing = keepAlives.received - keepAlives.answered;
  if (missing > 1 || (keepAlives.last_s ?? 0) > LOST_S) return "bad";
  return (keepAlives.last_s ?? 0) > LATE_S ? "warn" : "";
}

export function keepAliveWords(keepAlives) {
  if (keepAlives.last_s === null && !keepAlives.received) return "none yet";
  const missing = keepAlives.received - keepAlives.answered;
  const late = (keepAlives.last_s ?? 0) > LATE_S ? ", late" : "";
  const last = keepAlives.last_s === null ? "" : `${spoken(keepAlives.last_s)} ago${late}`;
  return [last, missing > 1 ? `${missing} unanswered` : ""].filter(Boolean).join(", ") || "–";
}

export const slowest = (keepAlives) =>
  keepAlives.slowest_ms === null ? "" : `slowest ${keepAlives.slowest_ms.toFixed(keepAlives.slowest_ms < 99.5 ? 1 : 0)} ms`;

/* A level on a scale of 48 dB, as the terminal shows it. */
export class Meter {
  #bar = make("i");
  #was = -1;

  constructor(name) {
    this.element = make("span", "meter");
    this.element.setAttribute("role", "meter");
    this.element.setAttribute("aria-label", name);
    this.element.setAttribute("aria-valuemin", "-48");
    this.element.setAttribute("aria-valuemax", "0");
    this.element.append(this.#bar);
    this.set(0);
  }

  set(level) {
    const decibels = level > 0 ? Math.max(-48, Math.min(0, 20 * Math.log10(level))) : -48;
    const shown = Math.round(decibels);
    if (shown === this.#was) return;
    this.#was = shown;
    this.#bar.style.transform = `scaleX(${(1 + shown / 48).toFixed(3)})`;
    this.element.classList.toggle("loud", level > 0.98);
    this.element.setAttribute("aria-valuenow", shown);
    const words = shown <= -48 ? "silent" : `${shown} dB`.replace("-", "−");
    this.element.setAttribute("aria-valuetext", words);
    this.element.title = words;
  }
}

const SVG = "http://www.w3.org/2000/svg";

/* Rates as a line, scaled to the highest. The figures stand beside it. */
export class Spark {
  #line = document.createElementNS(SVG, "polyline");

  constructor(most = 30) {
    this.most = most;
    this.element = document.createElementNS(SVG, "svg");
    this.element.setAttribute("class", "spark");
    this.element.setAttribute("viewBox", `0 0 ${most - 1} 10`);
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("aria-hidden", "true");
    this.element.append(this.#line);
  }

  set(rates) {
    const shown = rates.slice(-this.most), top = Math.max(...shown, 0);
    const points = shown.map((one, i) => `${this.most - shown.length + i},${(9.5 - (top > 0 ? (one / top) * 9 : 0)).toFixed(1)}`);
    this.#line.setAttribute("points", points.join(" "));
  }
}

/* What happened, in words. `again` says that the socket was connected before. */
export function told(event, again = false) {
  switch (event.event) {
    case "started": return event.recording ? `recording began: ${event.recording}` : "began; nothing is kept";
    case "finished":
      return [`ended: ${event.status}`, event.reason, event.losses ? many(event.losses, "loss", "losses") : ""]
        .filter(Boolean).join(", ");
    case "connection": {
      const name = event.channel || "socket", why = event.reason ? `: ${event.reason}` : "";
      switch (event.state) {
        case "opening": return `${name} is connecting${again ? " again" : ""}`;
        case "open": return `${name} is connected${again ? " again" : ""}`;
        case "refused": return `${name} was refused${why}`;
        default: return `${name} closed${event.code ? ` with ${event.code}` : ""}${why}`;
      }
    }
    case "mark": return `marked: ${event.text ?? ""}`;
    default: return (event.text ?? "").replace(/^WARNING:? /, "") || event.event;
  }
}

/* Tells which connections of a stream come again. */
export class Again {
  #closed = new Set();

  see(event) {
    if (event.event !== "connection") return false;
    const key = `${event.stream_id}\n${event.channel}`;
    if (event.state === "closed" || event.state === "refused") {
      if (this.#closed.size > 5_000) this.#closed.clear();
      this.#closed.add(key);
      return false;
    }
    return this.#closed.has(key);
  }
}

/* Children by key, in this order; what is gone is removed, what is new is made, and nothing else is touched. */
export function keyed(parent, known, items, keyOf, makeOne, update) {
  const seen = new Set();
  let place = parent.firstElementChild;
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  for (const item of items) {
    const key = keyOf(item);
    if (seen.has(key)) continue;
    seen.add(key);
    let one = known.get(key);
    if (!one) known.set(key, (one = makeOne(item)));
    if (one.element === place) place = place.nextElementSibling;
    else parent.insertBefore(one.element, place);
    update(one, item);
  }
  for (const [key, one] of known) {
    if (!seen.has(key)) {
      one.element.remove();
      known.delete(key);
    }
  }
  if (focused && focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

/* Run at most once a frame. */
export function inNextFrame(draw) {
  let waiting = 0;
  const soon = () => {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      draw();
    });
  };
  soon.end = () => cancelAnimationFrame(waiting);
  return soon;
}
