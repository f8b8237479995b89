/** The page of a batch: filters for all tables and charts, and tables that sort. */
(() => {
  const { make } = page;

  /** Let a table sort by each of its columns, numbers by value and absent ones last. */
  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" }, head.textContent, make("span", { "aria-hidden": "true" }, ""));
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        for (const other of heads) { other.removeAttribute("aria-sort"); other.querySelector("span").textContent = ""; }
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        button.querySelector("span").textContent = up ? " ▲" : " ▼";
        const rows = [...table.tBodies[0].rows].sort((a, b) => compare(a.cells[column], b.cells[column], up ? 1 : -1));
        table.tBodies[0].append(...rows);
      });
      head.replaceChildren(button);
    });
  }

  function compare(a, b, sign) {
    if (a.dataset.value === undefined) return sign * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    if (a.dataset.value === "" || b.dataset.value === "") return (a.dataset.value === "") - (b.dataset.value === "");
    return sign * (Number(a.dataset.value) - Number(b.dataset.value));
  }

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

  document.querySelectorAll("table.sortable").forEach(sortable);
  const form = document.getElementById("filters");
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
})();
