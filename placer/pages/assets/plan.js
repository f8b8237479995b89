/** The page of a plan: starts its parts, and lists what a device holds when its list is opened. */
(() => {
  const { table, ms, size, data } = page;

  function columns() {
    const { nodes } = data;
    const list = [{ name: "Node", text: (n) => nodes.name[n] }];
    if (nodes.id) list.push({ name: "Id", text: (n) => nodes.id[n] });
    if (nodes.layer) list.push({ name: "Layer", text: (n) => nodes.layer[n] ?? "" });
    if (nodes.backward?.includes(1)) list.push({ name: "Pass", text: (n) => (nodes.backward[n] ? "backward" : "forward") });
    if (nodes.time) {
      list.push({ name: "Compute", numeric: true, text: (n) => ms(nodes.time[n]) });
      list.push({ name: "Transfer of output", numeric: true, text: (n) => ms(nodes.transfer[n]) });
      list.push({ name: "Memory", numeric: true, text: (n) => size(nodes.memory[n]) });
    }
    return list;
  }

  for (const holds of document.querySelectorAll("details.holds")) {
    holds.addEventListener("toggle", () => {
      const device = data.devices[Number(holds.dataset.device)].holds;
      const members = data.nodes.device.map((d, n) => (d === device ? n : -1)).filter((n) => n >= 0);
      holds.querySelector(".scroll").append(table(columns(), members));
    }, { once: true });
  }
  timeline.start();
  graph.start();
})();
