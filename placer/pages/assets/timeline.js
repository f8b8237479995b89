/** The timeline: a row per device, a lane per kind of work, zoomed along time. */
const timeline = (() => {
  const { make, svg, ms, table, data } = page;
  const LANES = ["receive", "compute", "send"], LANE = 13, ROW_GAP = 10, LEFT = 118, AXIS = 24, MOST = 6000;
  let view, rows, from = 0, to = 1, end = 1;

  /** Rows in use, device by device; what a host does at the same time lies in slots below each other. */
  function lanes() {
    const used = new Map();
    for (const [device, lane, , , , slot] of data.slices) used.set(key(device, lane, slot), { device, lane, slot });
    const sorted = [...used.values()].sort((a, b) => a.device - b.device || LANES.indexOf(a.lane) - LANES.indexOf(b.lane) || a.slot - b.slot);
    let y = -ROW_GAP, last = -1;
    for (const row of sorted) {
      if (row.device !== last) { y += ROW_GAP; row.first = true; }
      last = row.device;
      row.y = y;
      y += LANE + 2;
    }
    return sorted;
  }

  const key = (device, lane, slot) => `${device} ${lane} ${slot}`;

  function ticks(width) {
    const raw = (to - from) / Math.max(2, Math.floor(width / 110));
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const found = [];
    for (let k = Math.ceil(from / step); k * step <= to; k += 1) found.push(k * step);
    return found;
  }

  /** Draw what lies between `from` and `to`. */
  function draw() {
    const width = Math.max(240, view.clientWidth - LEFT - 8), height = rows.length ? rows.at(-1).y + LANE + ROW_GAP : 0;
    const x = (t) => ((t - from) / (to - from)) * width;
    const picture = svg("svg", { height: height + AXIS, "aria-hidden": "true" });
    const inner = svg("svg", { x: LEFT, y: 0, width, height: height + AXIS });
    for (const t of ticks(width)) {
      inner.append(svg("line", { class: "grid", x1: x(t), x2: x(t), y1: 0, y2: height }));
      inner.append(svg("text", { x: x(t), y: height + 16, "text-anchor": x(t) < 30 ? "start" : x(t) > width - 30 ? "end" : "middle" }, `${Number(t.toPrecision(6))} ms`));
    }
    const place = new Map(rows.map((r) => [key(r.device, r.lane, r.slot), r]));
    for (const r of rows) {
      inner.append(svg("rect", { class: "lane", x: 0, y: r.y, width, height: LANE, opacity: 0.5 }));
      if (r.first) picture.append(svg("text", { class: "name", x: 0, y: r.y + 11 }, page.shorten(data.devices[r.device].name, 9)));
      picture.append(svg("text", { class: "lane-name", x: LEFT - 8, y: r.y + 10, "text-anchor": "end" }, r.lane));
    }
    for (const [device, lane, label, start, stop, slot] of data.slices) {
      if (stop < from || start > to) continue;
      const r = place.get(key(device, lane, slot)), left = Math.max(-2, x(start)), right = Math.min(width + 2, x(stop));
      const text = `${data.devices[device].name}, ${lane}: ${label}, ${ms(start)} to ${ms(stop)} (${ms(stop - start)})`;
      const read = () => { document.getElementById("timeline-detail").textContent = text; };
      inner.append(svg("rect", { class: `slice seg ${lane}`, x: left, y: r.y, width: Math.max(0.75, right - left), height: LANE, onpointerenter: read }, svg("title", {}, text)));
    }
    picture.append(inner);
    view.replaceChildren(picture);
  }

  function window_(low, high) {
    const span = Math.min(end, Math.max(end * 1e-5, high - low));
    from = Math.min(Math.max(0, low), end - span);
    to = from + span;
    draw();
  }

  const zoom = (factor) => window_((from + to) / 2 - ((to - from) / 2) * factor, (from + to) / 2 + ((to - from) / 2) * factor);
  const move = (share) => window_(from + (to - from) * share, to + (to - from) * share);
  const acts = { in: () => zoom(0.6), out: () => zoom(1 / 0.6), left: () => move(-0.3), right: () => move(0.3), fit: () => window_(0, end) };
  const shortcuts = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "fit" };

  function start() {
    view = document.getElementById("timeline-view");
    if (!view) return;
    data.slices.sort((a, b) => a[3] - b[3]);
    end = data.slices.reduce((t, s) => Math.max(t, s[4]), 0) || 1;
    rows = lanes();
    for (const button of document.querySelectorAll("#timeline .tools button")) button.addEventListener("click", acts[button.dataset.act]);
    view.addEventListener("keydown", (event) => {
      const act = shortcuts[event.key];
      if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
      acts[act]();
      event.preventDefault();
    });
    view.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(Math.exp(event.deltaY / 300));
    }, { passive: false });
    const columns = [
      { name: "Device", text: (s) => data.devices[s[0]].name }, { name: "Lane", text: (s) => s[1] }, { name: "What", text: (s) => s[2] },
      { name: "Start ms", numeric: true, text: (s) => s[3].toFixed(4) }, { name: "End ms", numeric: true, text: (s) => s[4].toFixed(4) },
    ];
    const fold = document.querySelector("#timeline details");
    fold.addEventListener("toggle", () => document.getElementById("timeline-table").replaceChildren(table(columns, data.slices, MOST)), { once: true });
    new ResizeObserver(draw).observe(view);
    window_(0, end);
  }

  return { start };
})();
