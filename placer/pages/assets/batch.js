/** The page of a batch: filters for all tables and charts. */
(() => {
  /** Hide jobs, points and curves that the filters leave out. */
  function filter() {
    const text = document.getElementById("filter-instance").value.trim().toLowerCase();
    const state = document.getElementById("filter-state").value;
    const methods = new Set([...document.querySelectorAll("#filters [name=method]:checked")].map((box) => box.value));
    const kept = new Set();
    for (const row of document.querySelectorAll("#job-table tbody tr")) {
      const keep = methods.has(row.dataset.method) && (!state || row.dataset.state === state) && row.dataset.instance.toLowerCase().includes(text);
      row.hidden = !keep;
      if (keep) kept.add(row.dataset.row);
    }
    for (const point of document.querySelectorAll(".point")) point.toggleAttribute("hidden", !kept.has(point.dataset.row));
    for (const other of document.querySelectorAll("path.method[data-method], #methods tbody tr")) other.toggleAttribute("hidden", !methods.has(other.dataset.method));
    document.getElementById("shown").textContent = `${kept.size} job${kept.size === 1 ? "" : "s"}`;
  }

  const form = document.getElementById("filters");
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
})();
