/** Turns a laid out graph into SVG: one path per kind of edge, a box per vertex, labels only where they can be read. */
const drawing = (() => {
  const LABELS = 700;

  /** Path data of one segment between two cells; between columns it runs through the gutter. */
  function segment(a, b) {
    if (a.column === b.column) {
      const bend = (b.top - a.bottom) / 2;
      return `C${a.x} ${a.bottom + bend} ${b.x} ${b.top - bend} ${b.x} ${b.top}`;
    }
    const gutter = b.gutter, down = a.bottom + 14, above = b.top - 14;
    return `V${down - 6}Q${a.x} ${down} ${a.x + 6} ${down}H${gutter - 6}Q${gutter} ${down} ${gutter} ${down - 6}` +
      `V${above + 6}Q${gutter} ${above} ${gutter + 6} ${above}H${b.x - 6}Q${b.x} ${above} ${b.x} ${above + 6}V${b.top}`;
  }

  /** Path data of an edge with an arrow head at its consumer. */
  function edge(points, flipped, loose) {
    if (loose) return across(points[0], points[1]);
    const first = points[0], last = points.at(-1);
    let path = `M${first.x} ${first.bottom}`;
    for (let k = 1; k < points.length; k += 1) {
      path += segment(points[k - 1], points[k]);
      if (k < points.length - 1) path += `V${points[k].bottom}`;
    }
    const head = flipped ? `M${first.x - 3.5} ${first.bottom + 6}l3.5 -6l3.5 6` : `M${last.x - 3.5} ${last.top - 6}l3.5 6l3.5 -6`;
    return path + head;
  }

  /** Path data of an edge from the forward to the backward pass, which lie side by side. */
  function across(a, b) {
    const right = b.x >= a.x ? 1 : -1;
    const x1 = a.x + right * a.half, x2 = b.x - right * b.half;
    const y1 = (a.top + a.bottom) / 2, y2 = (b.top + b.bottom) / 2, bend = (x2 - x1) / 2;
    return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}M${x2 - right * 6} ${y2 - 3.5}l${right * 6} 3.5l${-right * 6} 3.5`;
  }

  /**
   * Draw a graph.
   *
   * vertices: [{label, sub, device, mirrored, folded, width, height}], edges: [[producer, consumer]],
   * placed: what layout.run returned.
   */
  function draw(vertices, edges, placed) {
    const kinds = new Map();
    edges.forEach(([u, v], k) => {
      const cross = vertices[u].device !== vertices[v].device;
      const name = `e${cross ? ` cross d${vertices[u].device}` : ""}${placed.loose[k] ? " loose" : ""}`;
      if (!kinds.has(name)) kinds.set(name, []);
      kinds.get(name).push(edge(placed.paths[k], placed.flipped[k], placed.loose[k]));
    });
    const lines = page.svg("g", { "aria-hidden": "true" });
    const sorted = [...kinds].sort((a, b) => a[0].includes("cross") - b[0].includes("cross"));
    for (const [name, paths] of sorted) lines.append(page.svg("path", { class: name, d: paths.join("") }));
    const boxes = page.svg("g");
    const elements = vertices.map((v, k) => box(v, k, placed));
    boxes.append(...elements);
    return { lines, boxes, elements };
  }

  function box(v, k, placed) {
    const x = placed.x[k] - v.width / 2, y = placed.y[k] - v.height / 2;
    const shape = { width: v.width, height: v.height, rx: 6 };
    const group = page.svg("g", { class: `v d${v.device}${v.mirrored ? " backward" : ""}`, "data-v": k, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` });
    if (v.folded) group.append(page.svg("rect", { ...shape, x: 4, y: 4, class: "back" }));
    group.append(page.svg("rect", shape));
    return group;
  }

  /** Labels of the vertices inside a window of the drawing, none if there are too many to read. */
  function labels(vertices, placed, view, scale) {
    const layer = page.svg("g", { class: "labels", "aria-hidden": "true" });
    if (scale < 0.42) return layer;
    const inside = [];
    for (let k = 0; k < vertices.length && inside.length <= LABELS; k += 1) {
      const v = vertices[k];
      const seen = Math.abs(placed.x[k] - view.x) <= view.width / 2 + v.width && Math.abs(placed.y[k] - view.y) <= view.height / 2 + v.height;
      if (seen) inside.push(k);
    }
    if (inside.length > LABELS) return layer;
    for (const k of inside) {
      const v = vertices[k], x = placed.x[k].toFixed(1), y = placed.y[k];
      layer.append(page.svg("text", { x, y: (y - 2).toFixed(1), "text-anchor": "middle" }, v.short));
      layer.append(page.svg("text", { x, y: (y + 11).toFixed(1), "text-anchor": "middle", class: "sub" }, v.sub));
    }
    return layer;
  }

  return { draw, labels, edge };
})();
