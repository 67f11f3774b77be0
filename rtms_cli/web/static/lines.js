/* A long list of lines of any height that grows at its end. Only the lines near the eye are in the page.

   Lines stand in blocks; a block that is not in the page has the height that it had when it was, or a guessed one. */

const BLOCK = 40;
const AROUND = 500; // pixels beyond the edges that are drawn, too
const AT_END = 24;

export class Lines {
  #scroller;
  #draw;
  #onFollow;
  #top = document.createElement("div");
  #bottom = document.createElement("div");
  #blocks = new Map(); // by number: those in the page
  #heights = []; // measured ones, by number
  #guess = 44; // a line's height
  #items = [];
  #revision = -1;
  #width = 0;
  #place = 0; // where it was scrolled to
  #frame = 0;
  #resizing;
  isFollowing = true;

  /* `draw(item, before)` makes a line's element; `onFollow` is told when the end is left or reached. */
  constructor(scroller, draw, onFollow) {
    this.#scroller = scroller;
    this.#draw = draw;
    this.#onFollow = onFollow;
    scroller.append(this.#top, this.#bottom);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    scroller.addEventListener("keydown", (event) => this.#pressed(event));
    this.#resizing = new ResizeObserver(() => {
      if (scroller.clientWidth !== this.#width) {
        this.#width = scroller.clientWidth;
        this.#heights = [];
      }
      this.#soon();
    });
    this.#resizing.observe(scroller);
  }

  /* Show these; `revision` tells whether more than the end has changed. */
  update(items, revision) {
    const isNew = revision !== this.#revision;
    const anchor = isNew && !this.isFollowing ? this.#anchor() : null;
    this.#items = items;
    if (isNew) {
      this.#revision = revision;
      for (const block of this.#blocks.values()) block.element.remove();
      this.#blocks.clear();
      this.#heights = [];
    }
    this.#render(anchor);
  }

  toEnd() {
    this.#follow(true);
    this.#render();
  }

  end() {
    this.#resizing.disconnect();
    cancelAnimationFrame(this.#frame);
  }

  #follow(isFollowing) {
    if (isFollowing === this.isFollowing) return;
    this.isFollowing = isFollowing;
    this.#onFollow(isFollowing);
  }

  /* A browser goes to an end step by step, and stops where the list is drawn again on the way. */
  #pressed(event) {
    if (event.target !== this.#scroller || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (event.key === "End") this.toEnd();
    else if (event.key === "Home") {
      this.#follow(false);
      this.#scroller.scrollTop = 0;
      this.#render();
    } else return;
    event.preventDefault();
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.#scroller;
    const isUp = scrollTop < this.#place - 1; // otherwise it is the list that has grown, or the room that has shrunk
    this.#place = scrollTop;
    if (scrollHeight - scrollTop - clientHeight < AT_END) this.#follow(true);
    else if (isUp) this.#follow(false);
    this.#soon();
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#render();
    });
  }

  get #count() {
    return Math.ceil(this.#items.length / BLOCK);
  }

  #height(number) {
    return this.#heights[number] ?? Math.min(BLOCK, this.#items.length - number * BLOCK) * this.#guess;
  }

  #above(number) {
    let sum = 0;
    for (let i = 0; i < number; i++) sum += this.#height(i);
    return sum;
  }

  /* The block at the upper edge, and how far it stands above it. */
  #at(top) {
    let number = 0;
    for (; number < this.#count - 1; number++) {
      const height = this.#height(number);
      if (top < height) break;
      top -= height;
    }
    return [number, top];
  }

  /* The first line that can be seen, by its number, and how far it stands above the edge. */
  #anchor() {
    const edge = this.#scroller.getBoundingClientRect().top;
    for (const number of [...this.#blocks.keys()].sort((one, other) => one - other)) {
      const lines = this.#blocks.get(number).element.children;
      for (let i = 0; i < lines.length; i++) {
        const box = lines[i].getBoundingClientRect();
        if (box.bottom > edge) return { seq: this.#items[number * BLOCK + i]?.seq, above: edge - box.top };
      }
    }
    return null;
  }

  #render(anchor = null) {
    const scroller = this.#scroller, room = scroller.clientHeight;
    if (!room) return;
    let [first, inside] = this.#at(scroller.scrollTop);
    if (anchor) {
      const place = this.#items.findIndex((item) => item.seq >= anchor.seq);
      first = Math.floor(Math.max(0, place) / BLOCK);
    }
    /* Twice: what was guessed at first is measured then. */
    for (let round = 0; round < 2; round++) {
      const edge = this.isFollowing ? Infinity : this.#above(first) + (anchor ? 0 : inside);
      this.#fill(edge, room);
      this.#measure();
      if (this.isFollowing) scroller.scrollTop = scroller.scrollHeight;
      else if (anchor) this.#toAnchor(anchor);
      else {
        const wanted = this.#above(first) + inside;
        if (Math.abs(scroller.scrollTop - wanted) > 1) scroller.scrollTop = wanted;
      }
    }
    this.#place = scroller.scrollTop;
  }

  #toAnchor({ seq, above }) {
    const place = Math.max(0, this.#items.findIndex((item) => item.seq >= seq));
    const line = this.#blocks.get(Math.floor(place / BLOCK))?.element.children[place % BLOCK];
    if (!line) return;
    const edge = this.#scroller.getBoundingClientRect().top;
    this.#scroller.scrollTop += line.getBoundingClientRect().top - edge + above;
  }

  /* Put the blocks around an edge into the page, and take the others out. */
  #fill(edge, room) {
    const total = this.#above(this.#count);
    const top = Math.min(edge, Math.max(0, total - room)) - AROUND, bottom = top + room + 2 * AROUND;
    let at = 0, from = -1, to = -1, before = 0, after = 0;
    for (let number = 0; number < this.#count; number++) {
      const height = this.#height(number);
      if (at + height < top) before += height;
      else if (at > bottom) after += height;
      else {
        if (from < 0) from = number;
        to = number;
      }
      at += height;
    }
    for (const [number, block] of this.#blocks) {
      if (number < from || number > to) {
        block.element.remove();
        this.#blocks.delete(number);
      }
    }
    let place = this.#top;
    for (let number = from; from >= 0 && number <= to; number++) {
      let block = this.#blocks.get(number);
      if (!block) {
        block = { element: document.createElement("div"), count: 0 };
        this.#blocks.set(number, block);
        place.after(block.element);
      }
      const start = number * BLOCK, end = Math.min(start + BLOCK, this.#items.length);
      for (let i = start + block.count; i < end; i++) {
        block.element.append(this.#draw(this.#items[i], this.#items[i - 1] ?? null));
      }
      block.count = end - start;
      place = block.element;
    }
    this.#top.style.height = `${before}px`;
    this.#bottom.style.height = `${after}px`;
  }

  #measure() {
    let lines = 0, height = 0;
    for (const [number, block] of this.#blocks) {
      const its = block.element.getBoundingClientRect().height;
      this.#heights[number] = its;
      lines += block.count;
      height += its;
    }
    if (lines) this.#guess = height / lines;
    /* A block that grew since it left the page is guessed again. */
    const last = this.#count - 1;
    if (last >= 0 && !this.#blocks.has(last)) this.#heights[last] = undefined;
  }
}
