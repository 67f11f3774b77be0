// A table of any length of which only the visible rows exist: a grid for keyboards and screen readers.

import { make } from "./api.js";

const SPARE = 6;

/**
 * @param {object} options
 * @param {string} options.label what the table is, for screen readers
 * @param {string[]} options.columns their names
 * @param {() => number} options.height of a row, in pixels
 * @param {(item, element) => void} options.fill puts an item's cells into a row's element
 * @param {(item) => void} options.open called for Enter, and for a click beside a link
 * @param {(item) => string} options.key tells items apart
 * @param {() => void} [options.moved] called when another row is chosen, or the table is scrolled
 */
export function rows({ label, columns, height, fill, open, key, moved = () => {} }) {
  const head = make("div", { class: "columns", role: "row", "aria-rowindex": 1 }, ...columns.map((name) => make("span", { role: "columnheader" }, name)));
  const all = make("div", { class: "rows-all", role: "rowgroup" });
  const grid = make("div", { class: "rows", role: "grid", "aria-label": label }, make("div", { class: "rows-head", role: "rowgroup" }, head), all);
  let items = [], chosen = 0, drawn = new Map(), isQueued = false;

  const room = () => grid.clientHeight - head.offsetHeight;
  const isInside = () => all.contains(document.activeElement);

  function made() {
    const row = make("div", { class: "row", role: "row" });
    row.item = undefined;
    return row;
  }

  function draw() {
    isQueued = false;
    const each = height();
    all.style.height = `${items.length * each}px`;
    const first = Math.max(0, Math.floor(grid.scrollTop / each) - SPARE);
    const last = Math.min(items.length, Math.ceil((grid.scrollTop + grid.clientHeight) / each) + SPARE);
    const wanted = [];
    for (let index = first; index < last; index++) wanted.push(index);
    // The chosen row always exists: it has the focus, or gets it when somebody comes with the Tab key.
    if (chosen < first && items.length) wanted.unshift(chosen);
    else if (chosen >= last && items.length) wanted.push(chosen);
    const kept = new Map(), spare = [];
    const places = new Set(wanted);
    for (const [index, row] of drawn) {
      if (places.has(index)) kept.set(index, row);
      else spare.push(row);
    }
    for (const row of spare) row.remove();
    // In the order of the items, which is the order in which screen readers read.
    let next = all.firstChild;
    for (const index of wanted) {
      let row = kept.get(index);
      if (!row) kept.set(index, (row = spare.pop() || made()));
      if (row === next) next = next.nextSibling;
      else all.insertBefore(row, next);
      if (row.item !== items[index]) {
        const before = row.item;
        row.item = items[index];
        fill(items[index], row, before);
      }
      row.style.transform = `translateY(${index * each}px)`;
      row.style.height = `${each}px`;
      row.tabIndex = index === chosen ? 0 : -1;
      row.setAttribute("aria-rowindex", index + 2);
    }
    drawn = kept;
    grid.setAttribute("aria-rowcount", items.length + 1);
  }

  function soon() {
    if (isQueued) return;
    isQueued = true;
    requestAnimationFrame(draw);
  }

  function choose(index, hasFocus) {
    if (!items.length) return;
    chosen = Math.max(0, Math.min(items.length - 1, index));
    const each = height(), top = chosen * each;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + each > grid.scrollTop + room()) grid.scrollTop = top + each - room();
    draw();
    if (hasFocus) drawn.get(chosen).focus({ preventScroll: true });
    moved();
  }

  grid.addEventListener("scroll", () => {
    soon();
    moved();
  }, { passive: true });
  grid.addEventListener("keydown", (event) => {
    if (!event.target.classList.contains("row") || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(room() / height()) - 1);
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -items.length, End: items.length };
    if (event.key in moves) choose(chosen + moves[event.key], true);
    else if (event.key === "Enter") open(event.target.item);
    else return;
    event.preventDefault();
  });
  all.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row && !event.target.closest("a, button, input")) open(row.item);
  });
  all.addEventListener("focusin", (event) => {
    const row = event.target.closest(".row");
    for (const [index, one] of drawn) {
      if (one !== row || index === chosen) continue;
      chosen = index;
      soon();
      moved();
    }
  });
  const watcher = new ResizeObserver(soon);
  watcher.observe(grid);

  return {
    element: grid,
    /** Show other items. What was chosen stays so, and what is in view does not move. */
    show(others) {
      const each = height(), hadFocus = isInside();
      const places = new Map(others.map((item, index) => [key(item), index]));
      const place = (item) => (item === undefined ? undefined : places.get(key(item)));
      const top = Math.floor(grid.scrollTop / each), stays = grid.scrollTop > 0 ? place(items[top]) : undefined;
      chosen = place(items[chosen]) ?? Math.max(0, Math.min(chosen, others.length - 1));
      const moving = new Map();
      for (const row of drawn.values()) {
        const index = place(row.item);
        if (index === undefined || moving.has(index)) row.remove();
        else moving.set(index, row);
      }
      drawn = moving;
      items = others;
      all.style.height = `${items.length * each}px`;
      if (stays !== undefined && stays !== top) grid.scrollTop += (stays - top) * each;
      draw();
      if (hadFocus && !isInside()) drawn.get(chosen)?.focus({ preventScroll: true });
    },
    /** Fill a row again, or all that exist. */
    refill(item) {
      for (const row of drawn.values()) {
        if (item === undefined || row.item === item) fill(row.item, row, undefined);
      }
    },
    /** Put the focus on the chosen row. */
    focus() {
      choose(chosen, true);
    },
    /** The item that is chosen, and how far it is scrolled: `restore` takes both. */
    place() {
      return { chosen: items[chosen] && key(items[chosen]), top: grid.scrollTop };
    },
    restore({ chosen: known, top }) {
      const index = items.findIndex((item) => key(item) === known);
      if (index >= 0) chosen = index;
      grid.scrollTop = top;
      draw();
    },
    end() {
      watcher.disconnect();
    },
  };
}
