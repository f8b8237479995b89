/** The placed graph: folded into pieces and layers, opened on demand, searched, walked through, zoomed. */
const graph = (() => {
  const { make, svg, ms, size, shorten, data } = page;
  const FEW = 150, READABLE = 0.55, LISTED = 40, MATCHES = 30;
  const { nodes, groups, devices } = data;
  const count = nodes ? nodes.name.length : 0;
  const state = { open: new Set(), vertices: [], edges: [], of: [], placed: null, elements: [], selected: -1, lit: null, device: -1, scale: 1, x: 0, y: 0 };
  let root, view, world, overlay, texts, status, panel, drawnFrame = 0;

  // -- folding ------------------------------------------------------------------------------------

  /** Groups of a node, outermost first. */
  function ancestors(node) {
    const found = [];
    for (let g = nodes.group[node]; g >= 0; g = groups[g].parent) found.unshift(g);
    return found;
  }

  /** What stands for a node: its outermost group that is not open, or itself. */
  function standing(node) {
    const g = ancestors(node).find((a) => !state.open.has(a));
    return g === undefined ? `n${node}` : `g${g}`;
  }

  function width(text, sub) {
    return Math.min(380, Math.max(56, 18 + 6.9 * Math.max(text.length, sub.length * 0.82)));
  }

  /** Vertices and edges as they are folded now. */
  function folded() {
    const index = new Map(), vertices = [];
    state.of = nodes.name.map((_, n) => {
      const key = standing(n);
      if (!index.has(key)) {
        index.set(key, vertices.length);
        vertices.push({ key, members: [], device: nodes.device[n], mirrored: nodes.backward[n], folded: key[0] === "g" });
      }
      const k = index.get(key);
      vertices[k].members.push(n);
      return k;
    });
    for (const v of vertices) describe(v);
    const seen = new Set(), edges = [];
    for (let e = 0; e < data.edges.length; e += 2) {
      const u = state.of[data.edges[e]], w = state.of[data.edges[e + 1]], key = u * vertices.length + w;
      if (u !== w && !seen.has(key)) { seen.add(key); edges.push([u, w]); }
    }
    return { vertices, edges };
  }

  function describe(v) {
    const time = v.members.reduce((t, n) => t + nodes.time[n], 0);
    const device = devices[v.device].label;
    v.hint = v.members.reduce((t, n) => t + n, 0) / v.members.length;
    v.label = v.folded ? groups[Number(v.key.slice(1))].label : nodes.name[v.members[0]];
    // Short names are told apart by what they keep; only what no box can hold is cut further.
    const short = v.folded ? groups[Number(v.key.slice(1))].short : nodes.short ? nodes.short[v.members[0]] : v.label;
    v.short = shorten(short, v.folded ? 52 : 40);
    v.sub = v.folded ? `${v.members.length} nodes · ${ms(time)}` : `${shorten(device, 14)} · ${ms(time)}`;
    v.time = time;
    v.width = width(v.short, v.sub);
    v.height = 34;
  }

  /** Lay out and draw anew, keeping the whole in view unless told to keep still. */
  function redraw(keep) {
    const { vertices, edges } = folded();
    // Numbers of boxes mean nothing after this; who asked for the drawing selects anew.
    Object.assign(state, { vertices, edges, selected: -1 });
    state.near = vertices.map(() => [[], []]);
    edges.forEach(([u, w], k) => { state.near[u][1].push(k); state.near[w][0].push(k); });
    const box = root.getBoundingClientRect();
    state.placed = layout.run(vertices, edges, Math.max(0.6, box.width / Math.max(1, box.height)));
    const drawn = drawing.draw(vertices, edges, state.placed);
    state.elements = drawn.elements;
    overlay = svg("g", { "aria-hidden": "true" });
    texts = svg("g");
    world.replaceChildren(drawn.lines, overlay, drawn.boxes, texts);
    if (!keep) fit();
    emphasise();
    show();
    for (const input of document.querySelectorAll("#levels input")) input.checked = input.value === String(level());
  }

  // -- view ---------------------------------------------------------------------------------------

  function fit() {
    const box = root.getBoundingClientRect(), placed = state.placed;
    state.scale = Math.min(1.25, (box.width - 16) / placed.width, (box.height - 16) / placed.height);
    state.x = placed.width / 2;
    state.y = placed.height / 2;
    show();
  }

  /** Apply the view; labels follow in the next frame. */
  function show() {
    const box = root.getBoundingClientRect();
    const { scale, x, y } = state;
    world.setAttribute("transform", `translate(${box.width / 2 - x * scale} ${box.height / 2 - y * scale}) scale(${scale})`);
    view.classList.toggle("far", scale < 0.35);
    cancelAnimationFrame(drawnFrame);
    drawnFrame = requestAnimationFrame(() => {
      const window_ = { x, y, width: box.width / scale, height: box.height / scale };
      const fresh = drawing.labels(state.vertices, state.placed, window_, scale);
      texts.replaceWith(fresh);
      texts = fresh;
    });
  }

  function zoom(factor, at) {
    const box = root.getBoundingClientRect();
    const dx = at ? at.x - box.left - box.width / 2 : 0, dy = at ? at.y - box.top - box.height / 2 : 0;
    const scale = Math.min(4, Math.max(0.01, state.scale * factor));
    state.x += dx / state.scale - dx / scale;
    state.y += dy / state.scale - dy / scale;
    state.scale = scale;
    show();
  }

  function centre(k) {
    state.scale = Math.max(state.scale, 0.85);
    state.x = state.placed.x[k];
    state.y = state.placed.y[k];
    show();
  }

  /** Move the view only as far as a vertex outside of it demands. */
  function reveal(k) {
    const box = root.getBoundingClientRect();
    const away = Math.abs(state.placed.x[k] - state.x) * state.scale > box.width / 2 - 60 || Math.abs(state.placed.y[k] - state.y) * state.scale > box.height / 2 - 40;
    if (away || state.scale < 0.42) centre(k);
  }

  // -- selection ----------------------------------------------------------------------------------

  function emphasise() {
    state.elements.forEach((element, k) => {
      element.classList.toggle("selected", k === state.selected);
      element.classList.toggle("keep", state.vertices[k].device === state.device);
    });
    view.classList.toggle("dim", state.device >= 0);
    overlay.replaceChildren();
    if (state.selected < 0) return;
    const touching = state.near[state.selected].flat();
    const paths = touching.map((k) => drawing.edge(state.placed.paths[k], state.placed.flipped[k], state.placed.loose[k]));
    overlay.append(svg("path", { class: "e lit", d: paths.join("") }));
  }

  function select(k) {
    state.selected = k;
    emphasise();
    describeSelection();
    const v = state.vertices[k];
    status.textContent = k < 0 ? "Nothing selected" : `${v.label}, ${devices[v.device].label}, ${v.folded ? `${v.members.length} nodes, folded` : ms(v.time)}`;
  }

  /** Open what hides a node, select it and bring it into view. */
  function find(node) {
    for (const g of ancestors(node)) state.open.add(g);
    redraw(true);
    select(state.of[node]);
    centre(state.of[node]);
  }

  function unfold(k) {
    const v = state.vertices[k];
    if (!v.folded) return;
    const first = v.members[0];
    state.open.add(Number(v.key.slice(1)));
    redraw(true);
    select(state.of[first]);
    reveal(state.of[first]);
  }

  /** Fold up the innermost open group around a vertex. */
  function fold(k) {
    const node = state.vertices[k].members[0];
    const g = ancestors(node).filter((a) => state.open.has(a)).pop();
    if (g === undefined) return;
    for (const [other, group] of groups.entries()) if (group.parent === g) state.open.delete(other);
    state.open.delete(g);
    redraw(true);
    select(state.of[node]);
    reveal(state.of[node]);
  }

  function describeSelection() {
    const k = state.selected;
    if (k < 0) {
      panel.replaceChildren(make("h3", {}, "Nothing selected"), make("p", { class: "muted" }, "Select a box to read what it is, what it reads and who reads it."));
      return;
    }
    const v = state.vertices[k], sum = (column) => v.members.reduce((t, n) => t + nodes[column][n], 0);
    const facts = [["Device", devices[v.device].label]];
    if (!v.folded && nodes.id) facts.push(["Id", nodes.id[v.members[0]]]);
    if (!v.folded && nodes.layer && nodes.layer[v.members[0]] !== null) facts.push(["Layer", nodes.layer[v.members[0]]]);
    if (v.folded) facts.push(["Nodes", String(v.members.length)]);
    facts.push(["Compute", ms(sum("time"))], ["Memory", size(sum("memory"))]);
    if (!v.folded) facts.push(["Transfer of output", ms(nodes.transfer[v.members[0]])]);
    if (v.mirrored) facts.push(["Pass", "backward"]);
    const list = make("dl");
    for (const [name, value] of facts) list.append(make("dt", {}, name), make("dd", {}, value));
    const buttons = make("p", {});
    if (v.folded) buttons.append(make("button", { type: "button", id: "unfold", onclick: () => unfold(k) }, "Open"));
    const group = ancestors(v.members[0]).filter((a) => state.open.has(a)).pop();
    if (group !== undefined) buttons.append(make("button", { type: "button", id: "fold", onclick: () => fold(k) }, `Fold up ${shorten(groups[group].label, 28)}`));
    panel.replaceChildren(make("h3", {}, v.label), list, buttons, ...neighbours(k, 0, "Reads"), ...neighbours(k, 1, "Is read by"));
  }

  function neighbours(k, side, title) {
    const others = state.near[k][side].map((e) => state.edges[e][side]);
    const list = make("ul");
    for (const o of others.slice(0, LISTED)) {
      const v = state.vertices[o];
      const dot = make("span", { class: `dot d${v.device}`, "aria-hidden": "true" });
      const jump = () => { select(o); reveal(o); };
      list.append(make("li", {}, make("button", { type: "button", class: "jump", onclick: jump }, dot, make("span", {}, `${v.label} `, make("span", { class: "muted" }, devices[v.device].label)))));
    }
    if (others.length > LISTED) list.append(make("li", { class: "muted" }, `and ${others.length - LISTED} more`));
    return others.length ? [make("h4", {}, `${title} (${others.length})`), list] : [];
  }

  // -- levels -------------------------------------------------------------------------------------

  function depth() {
    return groups.some((g) => g.parent >= 0) ? 2 : 1;
  }

  function setLevel(wanted) {
    state.open = new Set();
    groups.forEach((g, k) => { if (wanted === 2 || (wanted === 1 && g.parent < 0 && depth() === 2)) state.open.add(k); });
    if (wanted === 2) groups.forEach((_, k) => state.open.add(k));
    redraw(false);
    select(-1);
  }

  /** Level that the open groups amount to, -1 for none. */
  function level() {
    if (!state.open.size) return 0;
    if (state.open.size === groups.length) return 2;
    const tops = groups.map((g, k) => k).filter((k) => groups[k].parent < 0);
    return depth() === 2 && state.open.size === tops.length && tops.every((k) => state.open.has(k)) ? 1 : -1;
  }

  /** Show the deepest level whose boxes can be read without zooming. */
  function showReadable() {
    const sizes = [0, new Set(nodes.group).size, count];
    const levels = (depth() === 2 ? [2, 1] : [2]).filter((l) => sizes[l] <= FEW);
    for (const l of levels) {
      setLevel(l);
      if (state.scale >= READABLE) return;
    }
    setLevel(0);
  }

  // -- walking with the keyboard ------------------------------------------------------------------

  function step(key) {
    if (state.selected < 0) return 0;
    const k = state.selected, mirrored = state.vertices[k].mirrored;
    if (key === "ArrowUp" || key === "ArrowDown") {
      const side = (key === "ArrowDown") !== Boolean(mirrored) ? 1 : 0;
      const edge = state.near[k][side][0];
      return edge === undefined ? k : state.edges[edge][side];
    }
    const row = state.vertices.map((_, o) => o).filter((o) => Math.abs(state.placed.y[o] - state.placed.y[k]) < 1).sort((a, b) => state.placed.x[a] - state.placed.x[b]);
    return row[Math.min(row.length - 1, Math.max(0, row.indexOf(k) + (key === "ArrowRight" ? 1 : -1)))];
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const k = state.selected;
    if (event.key.startsWith("Arrow")) { const next = step(event.key); select(next); reveal(next); }
    else if (event.key === "Enter" && k >= 0) unfold(k);
    else if (event.key === "Backspace" && k >= 0) fold(k);
    else if (event.key === "+" || event.key === "=") zoom(1.3);
    else if (event.key === "-") zoom(1 / 1.3);
    else if (event.key === "0") fit();
    else if (event.key === "Escape") select(-1);
    else return;
    event.preventDefault();
  }

  function pointers() {
    let from = null, moved = false;
    view.addEventListener("pointerdown", (event) => { from = { x: event.clientX, y: event.clientY }; moved = false; });
    view.addEventListener("pointermove", (event) => {
      if (!from || !event.buttons) return;
      const dx = event.clientX - from.x, dy = event.clientY - from.y;
      if (!moved && Math.hypot(dx, dy) < 4) return;
      if (!moved) { view.setPointerCapture(event.pointerId); view.classList.add("dragging"); }
      moved = true;
      state.x -= dx / state.scale;
      state.y -= dy / state.scale;
      from = { x: event.clientX, y: event.clientY };
      show();
    });
    view.addEventListener("pointerup", () => { from = null; view.classList.remove("dragging"); });
    view.addEventListener("click", (event) => {
      const box = event.target.closest("[data-v]");
      if (moved) return;
      const k = box ? Number(box.dataset.v) : -1;
      if (k >= 0 && state.vertices[k].folded) unfold(k);
      else select(k);
    });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(Math.exp(-event.deltaY / 300), { x: event.clientX, y: event.clientY });
    }, { passive: false });
  }

  // -- search -------------------------------------------------------------------------------------

  /** Nodes whose name or id holds the text, exact matches first. */
  function search(text) {
    const wanted = text.trim().toLowerCase();
    if (!wanted) return [];
    const found = [];
    for (let n = 0; n < count && found.length < 2000; n += 1) {
      const names = nodes.id ? [nodes.name[n], nodes.id[n]] : [nodes.name[n]];
      const ranks = names.map((s) => s.toLowerCase()).filter((s) => s.includes(wanted)).map((s) => (s === wanted ? 0 : s.startsWith(wanted) ? 1 : 2));
      if (ranks.length) found.push([Math.min(...ranks), n]);
    }
    return found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(([, n]) => n);
  }

  function searching() {
    const input = document.getElementById("search"), list = document.getElementById("matches");
    let matches = [], active = 0;
    const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
    const choose = (n) => { close(); find(n); };
    const render = () => {
      list.replaceChildren(...matches.slice(0, MATCHES).map((n, i) => make("li", { role: "option", id: `match${i}`, "aria-selected": i === active ? "true" : "false", onmousedown: (event) => { event.preventDefault(); choose(n); } }, make("span", {}, nodes.name[n]), make("span", { class: "muted" }, devices[nodes.device[n]].label))));
      if (!matches.length) list.append(make("li", { role: "option", "aria-disabled": "true" }, "No node has this in its name"));
      else if (matches.length > MATCHES) list.append(make("li", { role: "option", "aria-disabled": "true", class: "muted" }, `and ${matches.length - MATCHES} more`));
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      if (matches.length) input.setAttribute("aria-activedescendant", `match${active}`);
      list.children[active]?.scrollIntoView({ block: "nearest" });
    };
    input.addEventListener("input", () => { matches = search(input.value); active = 0; if (input.value.trim()) render(); else close(); });
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      const last = Math.min(matches.length, MATCHES) - 1;
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && matches.length) choose(matches[active]);
      else if (event.key === "ArrowDown" && last >= 0) { active = Math.min(last, active + 1); render(); }
      else if (event.key === "ArrowUp" && last >= 0) { active = Math.max(0, active - 1); render(); }
      else return;
      event.preventDefault();
    });
  }

  // -- start --------------------------------------------------------------------------------------

  function controls() {
    const names = depth() === 2 ? [[0, "Pieces"], [1, "Layers"], [2, "Nodes"]] : [[0, "Pieces"], [2, "Nodes"]];
    const levels = document.getElementById("levels");
    for (const [value, name] of names) levels.append(make("label", {}, make("input", { type: "radio", name: "level", value, onchange: () => setLevel(value) }), name));
    const acts = { in: () => zoom(1.3), out: () => zoom(1 / 1.3), fit };
    for (const button of document.querySelectorAll("#graph .tools button")) button.addEventListener("click", acts[button.dataset.act]);
    const legend = document.getElementById("graph-legend");
    devices.forEach((device, d) => {
      if (!nodes.device.includes(d)) return;
      const press = (event) => {
        state.device = state.device === d ? -1 : d;
        for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
        event.currentTarget.setAttribute("aria-pressed", String(state.device === d));
        emphasise();
      };
      legend.append(make("li", {}, make("button", { type: "button", "aria-pressed": "false", onclick: press }, make("span", { class: `dot d${d}`, "aria-hidden": "true" }), device.label)));
    });
  }

  function start() {
    root = document.getElementById("graph-view");
    if (!root || !data.edges) return;
    panel = document.getElementById("selection");
    status = document.getElementById("graph-status");
    world = svg("g");
    view = svg("svg", { tabindex: 0, role: "application", "aria-label": `Graph of ${count} nodes on ${new Set(nodes.device).size} devices. Arrow keys walk along it, Enter opens, Backspace folds up. The tables under What each device holds list all nodes.` }, world);
    root.append(view);
    controls();
    pointers();
    searching();
    view.addEventListener("keydown", keys);
    const began = performance.now();
    showReadable();
    performance.measure("graph", { start: began });
    new ResizeObserver(() => { if (state.placed) show(); }).observe(root);
  }

  return { start, state, find, setLevel };
})();
