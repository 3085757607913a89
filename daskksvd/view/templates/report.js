(async () => {
  "use strict";
  const $ = (id) => document.getElementById(id);
  const packed = Uint8Array.from(atob($("data").textContent.trim()), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = await new Response(stream).json();
  const ATOM = 0, NAMES = 1, SPECIFIC = 2, USES = 3, CORRELATION = 5, HELD_OUT = 7, IMAGE = 9;
  const byAtom = new Map(data.atoms.map((line) => [line[ATOM], line]));
  const known = data.search, vocabulary = Object.keys(known.words);
  const keys = [...document.querySelectorAll("#atoms th[data-key]")];
  const imaged = keys.length < document.querySelectorAll("#atoms th").length;
  const STEP = 100;
  const state = { lines: data.atoms, shown: STEP, sort: null, down: true, words: [], atom: null };

  // ------------------------------------------------------------- searching
  // the rule of daskksvd.view.data.finding
  function findWords(text) {
    if (!text) return [];
    if (Object.hasOwn(known.words, text)) return [text];
    const said = [...text.normalize("NFKC").matchAll(new RegExp(known.pattern, "gu"))].map(
      ([form]) => baseForm(form.replace(/[’‘ʼ׳]/g, "'")));
    const phrases = said.flatMap((_, start) => said.slice(start + 1).map(
      (_, more) => said.slice(start, start + more + 2).join(" ")));
    const counted = [...new Set([...said, ...phrases].reverse())].filter((word) => Object.hasOwn(known.words, word));
    if (counted.length) return counted;
    const begun = vocabulary.filter((word) => word.startsWith(text)).slice(0, known.most_prefixed);
    return begun.length ? begun : alike(text);
  }

  function baseForm(form) {
    return Object.hasOwn(known.forms, form) ? known.forms[form] : form;
  }

  // words spelled like a text, as Python's difflib measures it
  function alike(text) {
    const ratios = vocabulary.map((word) => [2 * common([...word], [...text]) / ([...word].length + [...text].length), word]);
    const order = ([a, one], [b, two]) => b - a || (one < two ? 1 : -1);
    return ratios.filter(([ratio]) => ratio >= known.least_alike).sort(order).slice(0, known.most_alike).map(([, word]) => word);
  }

  // letters of two words in common: of their longest common part, and of what is left and right of it
  function common(one, two) {
    let size = 0, first = 0, second = 0;
    for (let i = 0; i < one.length; i++) {
      for (let j = 0; j < two.length; j++) {
        let length = 0;
        while (i + length < one.length && j + length < two.length && one[i + length] === two[j + length]) length++;
        if (length > size) [size, first, second] = [length, i, j];
      }
    }
    if (!size) return 0;
    return size + common(one.slice(0, first), two.slice(0, second))
      + common(one.slice(first + size), two.slice(second + size));
  }

  // lines of the atoms that go with words, the strongest first, each with the correlation of its word
  function findAtoms(words) {
    const found = words.flatMap((word) => {
      const [atoms, correlations, strengths] = known.words[word];
      return atoms.map((atom, place) => ({ atom, correlation: correlations[place], strength: strengths[place] }));
    }).sort((one, two) => two.strength - one.strength);
    const lines = new Map();
    for (const { atom, correlation } of found) {
      if (!lines.has(atom)) lines.set(atom, Object.assign([...byAtom.get(atom)], { [CORRELATION]: correlation }));
    }
    return [...lines.values()].slice(0, known.most_atoms);
  }

  function search() {
    const text = $("search").value.trim().toLowerCase().replace(/\s+/g, " ");
    const number = /^(?:atom)?\s*#?\s*(\d+)$/.exec(text);
    state.sort = null;
    state.words = [];
    state.shown = STEP;
    if (!text) {
      state.lines = data.atoms;
      say(`${data.atoms.length.toLocaleString("en")} atoms, the best named first`);
    } else if (number && byAtom.has(Number(number[1]))) {
      state.lines = [byAtom.get(Number(number[1]))];
      say("1 atom");
    } else {
      state.words = findWords(text);
      state.lines = findAtoms(state.words);
      const count = state.lines.length;
      const meant = state.words.includes(text) ? "" : ` (${state.words.slice(0, 3).join(", ")})`;
      if (count) say(`${count} atom${count > 1 ? "s" : ""} for “${text}”${meant}, the strongest first`);
      else if (number) say(`There is no atom ${number[1]}; they are numbered from 0 to ${data.atoms.length - 1}`);
      else say(`No atom for “${text}”`);
    }
    draw();
  }

  function say(text) { $("count").textContent = text; }

  // ------------------------------------------------------------- the table
  function element(name, text, className) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function row(line) {
    const made = element("tr");
    made.dataset.atom = line[ATOM];
    if (line[ATOM] === state.atom) made.className = "chosen";
    if (imaged) {
      const cell = element("td"), source = data.images[line[IMAGE]];
      if (source) {
        const image = element("img");
        image.src = source;
        image.alt = "";
        cell.append(image);
      }
      made.append(cell);
    }
    for (const head of keys) {
      const key = Number(head.dataset.key), value = line[key];
      const cell = element("td", undefined, key === NAMES ? "" : "dk-number");
      if (key === NAMES) {
        const link = element("a");
        link.href = `#atom=${line[ATOM]}`;
        const names = value ? value.split(", ") : ["no name"];
        names.forEach((name, place) => {
          if (place) link.append(", ");
          link.append(element(state.words.includes(name) ? "mark" : "span", name));
        });
        cell.append(link);
        if (line[SPECIFIC]) cell.append(element("small", ` · ${line[SPECIFIC]}`));
      } else if (value !== null) {
        cell.textContent = key === ATOM ? value : key === USES ? value.toLocaleString("en") : value.toFixed(2);
      }
      made.append(cell);
    }
    return made;
  }

  function draw() {
    let lines = state.lines;
    if (state.sort !== null) {
      const order = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
      lines = [...lines].sort((one, two) => {
        const a = one[state.sort], b = two[state.sort];
        const empty = (value) => value === null || value === "";
        if (empty(a) || empty(b)) return empty(a) - empty(b);
        return state.down ? order(b, a) : order(a, b);
      });
    }
    state.drawn = lines;
    document.querySelector("#atoms tbody").replaceChildren(...lines.slice(0, state.shown).map(row));
    $("more").hidden = lines.length <= state.shown;
    for (const head of keys) {
      if (Number(head.dataset.key) === state.sort) {
        head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      } else head.removeAttribute("aria-sort");
    }
  }

  // ------------------------------------------------------------- one atom
  const pictures = data.kinds.map(() => null);

  async function fill(atom) {
    const fillings = data.figures[atom];
    $("detail-figures").hidden = !fillings;
    if (!fillings) return;
    for (let kind = 0; kind < data.kinds.length; kind++) {
      const filling = fillings[kind];
      if (!pictures[kind]) {
        // the picture draws itself once it has its data
        const views = await Bokeh.embed.embed_item(data.kinds[kind].item, `kind-${kind}`);
        const view = [...(views.roots ? views.roots : views)][0];
        pictures[kind] = view.model;
      }
      if (state.atom !== atom) return;
      const figure = pictures[kind], document_ = figure.document;
      data.kinds[kind].sources.forEach((id, layer) => {
        document_.get_model_by_id(id).data = filling.layers[layer];
      });
      figure.title.text = filling.title;
      for (const [axis, range] of [["x", figure.x_range], ["y", figure.y_range]]) {
        if (!filling[axis]) continue;
        range.setv({ start: filling[axis][0], end: filling[axis][1], reset_start: filling[axis][0], reset_end: filling[axis][1] });
      }
    }
  }

  function show(atom, move) {
    const line = byAtom.get(atom);
    if (!line) return;
    state.atom = atom;
    const template = $(`atom-${atom}`);
    $("detail-title").textContent = template ? template.dataset.title : `atom ${atom}: ${line[NAMES] || "no name"}`;
    $("detail-title").textContent = $("detail-title").textContent.replace(/^a/, "A");
    const parts = template ? template.content.cloneNode(true) : null;
    for (const [place, name] of [["detail-facts", ".facts"], ["detail-gallery", ".gallery"], ["detail-more", ".more"], ["detail-near", ".near"]]) {
      const part = parts && parts.querySelector(name);
      $(place).replaceChildren(...(part ? [part] : []));
    }
    if (!parts) $("detail-facts").append(element("p", "This page has no images of this atom; the dashboard has."));
    for (const image of $("detail").querySelectorAll("img")) {
      const source = data.images[image.dataset.row];
      if (source) image.src = source;
      else image.replaceWith(element("p", "No image", "missing"));
    }
    for (const line of document.querySelectorAll("#atoms tbody tr")) {
      line.classList.toggle("chosen", Number(line.dataset.atom) === atom);
    }
    fill(atom);
    if (move) {
      $("detail").focus({ preventScroll: true });
      const top = $("detail").getBoundingClientRect().top;
      if (top < 0 || top > innerHeight * 0.6) $("detail").scrollIntoView();
    }
  }

  function step(by) {
    const place = state.drawn.findIndex((line) => line[ATOM] === state.atom);
    const next = state.drawn[Math.min(state.drawn.length - 1, Math.max(0, place + by))];
    if (next) location.hash = `atom=${next[ATOM]}`;
  }

  function follow() {
    const found = /^#atom=(\d+)$/.exec(location.hash);
    if (found) show(Number(found[1]), true);
    return Boolean(found);
  }

  // ------------------------------------------------------------- events
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && state.drawn.length) location.hash = `atom=${state.drawn[0][ATOM]}`;
  });
  $("more").addEventListener("click", () => { state.shown += STEP * 5; draw(); });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const held = event.altKey || event.ctrlKey || event.metaKey || event.shiftKey;
    if (by && !held && !event.target.closest?.("input, .bk-Figure, [contenteditable]")) step(by);
  });
  for (const head of keys) {
    head.addEventListener("click", () => {
      const key = Number(head.dataset.key);
      state.down = state.sort === key ? !state.down : key > NAMES;
      state.sort = key;
      draw();
    });
  }
  document.querySelector("#atoms tbody").addEventListener("click", (event) => {
    const line = event.target.closest("tr");
    if (line && !event.target.closest("a")) location.hash = `atom=${line.dataset.atom}`;
  });
  addEventListener("hashchange", follow);
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      watcher.unobserve(entry.target);
      Bokeh.embed.embed_item(data.overview[Number(entry.target.dataset.overview)], entry.target.id);
    }
  }, { rootMargin: "600px" });
  document.querySelectorAll(".lazy").forEach((place) => watcher.observe(place));
  search();
  if (!follow() && data.atoms.length) show(data.atoms[0][ATOM], false);
  document.body.dataset.ready = "yes";
})();
