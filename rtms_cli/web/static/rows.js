// A list of any length of which only the visible rows exist; a listbox for keyboards and screen readers.

const SPARE = 6;

/**
 * @param {object} options
 * @param {string} options.label what the list is, for screen readers
 * @param {() => number} options.height of a row, in pixels
 * @param {(item, element) => void} options.fill puts an item into a row's element
 * @param {(item) => void} options.open called for Enter, and for a click beside a link
 * @param {(item) => string} options.key tells items apart
 */
export function rows({ label, height, fill, open, key }) {
  const list = document.createElement("div");
  list.className = "rows";
  list.tabIndex = 0;
  list.setAttribute("role", "listbox");
  list.setAttribute("aria-label", label);
  const all = document.createElement("div");
  all.className = "rows-all";
  all.setAttribute("role", "presentation");
  list.append(all);
  let items = [], chosen = 0, drawn = new Map(), queued = false;

  function draw() {
    queued = false;
    const each = height();
    all.style.height = `${items.length * each}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / each) - SPARE);
    const last = Math.min(items.length, Math.ceil((list.scrollTop + list.clientHeight) / each) + SPARE);
    const kept = new Map();
    const spare = [];
    for (const [index, row] of drawn) {
      if (index >= first && index < last) kept.set(index, row);
      else spare.push(row);
    }
    for (let index = first; index < last; index++) {
      let row = kept.get(index);
      if (!row) {
        row = spare.pop();
        if (!row) {
          row = document.createElement("div");
          row.className = "row";
          row.setAttribute("role", "option");
          all.append(row);
        }
        kept.set(index, row);
        row.item = undefined;
      }
      if (row.item !== items[index]) {
        row.item = items[index];
        fill(items[index], row);
      }
      row.id = `row-${index}`;
      row.style.transform = `translateY(${index * each}px)`;
      row.style.height = `${each}px`;
      row.setAttribute("aria-setsize", items.length);
      row.setAttribute("aria-posinset", index + 1);
      row.setAttribute("aria-selected", index === chosen);
    }
    for (const row of spare) row.remove();
    drawn = kept;
    if (drawn.has(chosen)) list.setAttribute("aria-activedescendant", `row-${chosen}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function soon() {
    if (!queued) {
      queued = true;
      requestAnimationFrame(draw);
    }
  }

  function choose(index) {
    if (!items.length) return;
    chosen = Math.max(0, Math.min(items.length - 1, index));
    const each = height(), top = chosen * each;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + each > list.scrollTop + list.clientHeight) list.scrollTop = top + each - list.clientHeight;
    draw();
  }

  list.addEventListener("scroll", soon, { passive: true });
  list.addEventListener("keydown", (event) => {
    if (event.target !== list || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(list.clientHeight / height()) - 1);
    const moves = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in moves) {
      const step = moves[event.key];
      choose(step === Infinity ? items.length - 1 : step === -Infinity ? 0 : chosen + step);
    } else if ((event.key === "Enter" || event.key === " ") && items[chosen]) {
      open(items[chosen]);
    } else return;
    event.preventDefault();
  });
  list.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row || event.target.closest("a, button, input")) return;
    open(row.item);
  });
  const watcher = new ResizeObserver(soon);
  watcher.observe(list);

  return {
    element: list,
    /** Show other items; what was chosen stays so. */
    show(others) {
      const before = items[chosen] && key(items[chosen]);
      items = others;
      const found = before === undefined ? -1 : items.findIndex((item) => key(item) === before);
      chosen = found >= 0 ? found : Math.min(chosen, Math.max(0, items.length - 1));
      draw();
    },
    redraw() {
      for (const row of drawn.values()) row.item = undefined;
      draw();
    },
    focus() {
      list.focus();
    },
    end() {
      watcher.disconnect();
    },
  };
}
