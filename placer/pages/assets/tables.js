/** Tables that sort by each of their columns. */
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

  document.querySelectorAll("table.sortable").forEach(sortable);
})();
