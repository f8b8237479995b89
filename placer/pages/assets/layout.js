/**
 * Layered drawing of a directed graph (Sugiyama, Tagawa and Toda, 1981): ranks by longest path, order within
 * ranks by barycentres, coordinates by isotonic regression towards neighbours. Tall drawings wrap into columns.
 *
 * Backward vertices are drawn mirrored: beside the forward pass, their edges pointing up.
 */
const layout = (() => {
  const GAP_X = 16, GAP_Y = 30, COLUMN_GAP = 56, DUMMY = 6, MOST_BENDS = 6000, TO_MIDDLE = 0.05;

  /** Topological order of the drawing's edges; a cycle is cut at its earliest vertex. */
  function order(count, edges, hint) {
    const out = Array.from({ length: count }, () => []), waiting = new Int32Array(count);
    for (const [u, v] of edges) { out[u].push(v); waiting[v] += 1; }
    const rest = [...Array(count).keys()].sort((a, b) => hint[a] - hint[b]);
    const done = new Uint8Array(count), sequence = [], ready = rest.filter((v) => !waiting[v]).reverse();
    let next = 0;
    while (sequence.length < count) {
      if (!ready.length) {
        while (done[rest[next]]) next += 1;
        ready.push(rest[next]);
      }
      const v = ready.pop();
      if (done[v]) continue;
      done[v] = 1;
      sequence.push(v);
      for (const w of out[v]) if (!done[w] && --waiting[w] === 0) ready.push(w);
    }
    const position = new Int32Array(count);
    sequence.forEach((v, k) => { position[v] = k; });
    return { sequence, position };
  }

  /** Longest-path ranks; a vertex that nothing precedes moves down to its first reader. */
  function ranks(count, edges, sequence) {
    const out = Array.from({ length: count }, () => []), into = new Int32Array(count);
    for (const [u, v] of edges) { out[u].push(v); into[v] += 1; }
    const rank = new Int32Array(count);
    for (const u of sequence) for (const v of out[u]) rank[v] = Math.max(rank[v], rank[u] + 1);
    for (const u of sequence) if (!into[u] && out[u].length) rank[u] = Math.min(...out[u].map((v) => rank[v])) - 1;
    return rank;
  }

  /**
   * Break long edges into segments between neighbouring ranks. All edges of a producer share one chain of
   * bends, as they carry the same data.
   */
  function chains(vertices, edges, rank) {
    const cells = vertices.map((v, k) => ({ vertex: k, rank: rank[k], width: v.width, mirrored: v.mirrored }));
    const segments = [], reach = new Map(), chain = new Map();
    for (const [u, v] of edges) reach.set(u, Math.max(reach.get(u) ?? 0, rank[v]));
    // Where bends would be too many, the longest edges go straight.
    let budget = MOST_BENDS;
    for (const [u, last] of [...reach].sort((a, b) => a[1] - rank[a[0]] - (b[1] - rank[b[0]]))) {
      budget -= Math.max(0, last - rank[u] - 1);
      if (budget < 0) break;
      const bends = [u];
      for (let r = rank[u] + 1; r < last; r += 1) {
        segments.push([bends.at(-1), cells.length]);
        bends.push(cells.length);
        cells.push({ vertex: -1, rank: r, width: DUMMY, mirrored: vertices[u].mirrored });
      }
      chain.set(u, bends);
    }
    const paths = edges.map(([u, v]) => (chain.has(u) ? [...chain.get(u).slice(0, rank[v] - rank[u]), v] : [u, v]));
    for (const path of paths) if (path.length > 2 || rank[path[1]] - rank[path[0]] === 1) segments.push(path.slice(-2));
    return { cells, segments, paths };
  }

  /** Order the cells of each rank by the mean place of their neighbours, sweeping down and up. */
  function sort(cells, segments, position) {
    const layers = [];
    const initial = (c) => c.key;
    cells.forEach((c, k) => { c.key = (c.mirrored ? 1e6 : 0) + (c.vertex >= 0 ? position[c.vertex] : 0); (layers[c.rank] ??= []).push(k); });
    for (let r = 0; r < layers.length; r += 1) layers[r] ??= [];
    const up = cells.map(() => []), down = cells.map(() => []);
    for (const [a, b] of segments) { down[a].push(b); up[b].push(a); }
    for (const layer of layers) layer.sort((a, b) => initial(cells[a]) - initial(cells[b]));
    const place = new Float64Array(cells.length);
    const number = (layer) => layer.forEach((c, i) => { place[c] = layer.length > 1 ? i / (layer.length - 1) : 0.5; });
    layers.forEach(number);
    const sweeps = cells.length > 4000 ? 6 : 16;
    for (let s = 0; s < sweeps; s += 1) {
      const near = s % 2 ? down : up;
      const sequence = s % 2 ? [...layers].reverse() : layers;
      for (const layer of sequence) {
        const mean = new Map(layer.map((c) => [c, near[c].length ? near[c].reduce((t, d) => t + place[d], 0) / near[c].length : place[c]]));
        layer.sort((a, b) => (cells[a].mirrored - cells[b].mirrored) || (mean.get(a) - mean.get(b)));
        number(layer);
      }
    }
    return { layers, up, down };
  }

  /** Places closest to those wished for (least squares) that keep the order and the distances. */
  function spread(wished, weight, distance) {
    const blocks = [];
    let offset = 0;
    const offsets = wished.map((_, i) => (offset += i ? distance[i] : 0));
    wished.forEach((x, i) => {
      let block = { sum: (x - offsets[i]) * weight[i], weight: weight[i], size: 1 };
      while (blocks.length && blocks.at(-1).sum / blocks.at(-1).weight > block.sum / block.weight) {
        const last = blocks.pop();
        block = { sum: last.sum + block.sum, weight: last.weight + block.weight, size: last.size + block.size };
      }
      blocks.push(block);
    });
    return blocks.flatMap((b) => Array(b.size).fill(b.sum / b.weight)).map((x, i) => x + offsets[i]);
  }

  /** Where a cell lines up: a bend with its own chain rather than its ends, a vertex with vertices before bends. */
  function aligned(cells, near, x, c) {
    const bends = near.filter((d) => cells[d].vertex < 0), vertices = near.filter((d) => cells[d].vertex >= 0);
    const first = cells[c].vertex < 0 ? bends : vertices, second = cells[c].vertex < 0 ? vertices : bends;
    const light = cells[c].vertex < 0 || !first.length ? 0.2 : 0;
    const weight = first.length + light * second.length;
    if (!weight) return x[c];
    return (first.reduce((t, d) => t + x[d], 0) + light * second.reduce((t, d) => t + x[d], 0)) / weight;
  }

  /** Horizontal centres of all cells. */
  function abscissas(cells, layers, up, down) {
    const x = new Float64Array(cells.length);
    for (const layer of layers) {
      let at = 0;
      for (const c of layer) { x[c] = at + cells[c].width / 2; at += cells[c].width + GAP_X; }
      for (const c of layer) x[c] -= at / 2;
    }
    const passes = cells.length > 4000 ? 8 : 20;
    for (let s = 0; s < passes; s += 1) {
      const sides = s >= passes - 2 ? [up, down] : s % 2 ? [down] : [up];
      for (const layer of s % 2 ? [...layers].reverse() : layers) {
        const wished = [], weight = [], distance = [];
        layer.forEach((c, i) => {
          const near = sides.flatMap((side) => side[c]), mean = aligned(cells, near, x, c);
          // A slight pull to the middle keeps repeated asymmetric blocks from drifting sideways.
          wished.push(cells[c].vertex < 0 ? mean : mean * (1 - TO_MIDDLE));
          weight.push(near.length ? (cells[c].vertex < 0 ? 3 : 1) * near.length : 0.05);
          distance.push(i ? (cells[layer[i - 1]].width + cells[c].width) / 2 + GAP_X * (cells[c].vertex < 0 ? 0.6 : 1) : 0);
        });
        spread(wished, weight, distance).forEach((value, i) => { x[layer[i]] = value; });
      }
    }
    return x;
  }

  /** First rank of each column so that the drawing gets about the aspect wanted, cut where few edges cross. */
  function columns(layers, segments, cells, x, rowHeight, aspect) {
    const low = Math.min(...layers.flat().map((c) => x[c] - cells[c].width / 2));
    const high = Math.max(...layers.flat().map((c) => x[c] + cells[c].width / 2));
    const count = layers.length, wanted = Math.round(Math.sqrt((aspect * count * rowHeight) / (high - low + COLUMN_GAP)));
    const columnsWanted = Math.min(wanted, Math.floor(count / 3));
    if (columnsWanted < 2) return [0];
    const crossing = new Int32Array(count);
    for (const [, b] of segments) crossing[cells[b].rank] += 1;
    const starts = [0], step = count / columnsWanted;
    for (let k = 1; k < columnsWanted; k += 1) {
      const middle = Math.round(k * step), slack = Math.floor(step * 0.12);
      let best = middle;
      for (let r = middle - slack; r <= middle + slack; r += 1) if (crossing[r] < crossing[best]) best = r;
      starts.push(best);
    }
    return starts;
  }

  /**
   * Lay out a graph.
   *
   * vertices: [{width, height, mirrored, hint}], edges: [[producer, consumer]] without duplicates or loops,
   * aspect: width over height wished for.
   * Returns {x, y (centres), width, height, paths: [[{x, top, bottom, column}]] per edge in drawing order, flipped}.
   */
  function run(vertices, edges, aspect) {
    const loose = edges.map(([u, v]) => vertices[u].mirrored !== vertices[v].mirrored);
    const kept = edges.map((_, k) => k).filter((k) => !loose[k]);
    const hint = vertices.map((v) => (v.mirrored ? -v.hint : v.hint));
    const turned = kept.map((k) => (vertices[edges[k][0]].mirrored ? [edges[k][1], edges[k][0]] : edges[k]));
    const { sequence, position } = order(vertices.length, turned, hint);
    const flipped = edges.map(() => false);
    const drawn = turned.map(([u, v], i) => {
      const back = position[u] > position[v];
      const pair = back ? [v, u] : [u, v];
      flipped[kept[i]] = pair[0] !== edges[kept[i]][0];
      return pair;
    });
    const rank = ranks(vertices.length, drawn, sequence);
    const { cells, segments, paths } = chains(vertices, drawn, rank);
    const { layers, up, down } = sort(cells, segments, position);
    const x = abscissas(cells, layers, up, down);
    const tallest = Math.max(...vertices.map((v) => v.height));
    const rowHeight = tallest + GAP_Y;
    const starts = columns(layers, segments, cells, x, rowHeight, aspect);
    const y = new Float64Array(cells.length), column = new Int32Array(cells.length);
    const gutters = [];
    const width = fold(layers, cells, x, y, column, starts, rowHeight, gutters);
    const point = (c) => ({ x: x[c], top: y[c] - tallest / 2, bottom: y[c] + tallest / 2, column: column[c], half: cells[c].width / 2, gutter: gutters[column[c]] });
    const points = edges.map(([u, v]) => [point(u), point(v)]);
    kept.forEach((k, i) => { points[k] = paths[i].map(point); });
    const rows = Math.max(...starts.map((s, k) => (starts[k + 1] ?? layers.length) - s));
    return { x, y, width, height: rows * rowHeight - GAP_Y + 40, paths: points, flipped, loose };
  }

  /** Move the ranks of each column beside those of the one before; returns the width, fills in the gutters. */
  function fold(layers, cells, x, y, column, starts, rowHeight, gutters) {
    let left = COLUMN_GAP / 2;
    starts.forEach((first, k) => {
      const members = layers.slice(first, starts[k + 1] ?? layers.length);
      const all = members.flat();
      const low = Math.min(...all.map((c) => x[c] - cells[c].width / 2));
      const high = Math.max(...all.map((c) => x[c] + cells[c].width / 2));
      members.forEach((layer, r) => layer.forEach((c) => { x[c] += left - low; y[c] = 20 + (r + 0.5) * rowHeight - GAP_Y / 2; column[c] = k; }));
      gutters.push(left - COLUMN_GAP / 3);
      left += high - low + COLUMN_GAP;
    });
    return left - COLUMN_GAP / 2;
  }

  return { run };
})();
