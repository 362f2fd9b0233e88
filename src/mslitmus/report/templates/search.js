// The table of queries: sorted by a click on a column's head, narrowed by a word. Without scripts it shows as written.
(() => {
  const table = document.querySelector("table.hits"), body = table.tBodies[0], rows = [...body.rows];
  const find = document.getElementById("find"), only = document.getElementById("hits"), shown = document.getElementById("shown");
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const show = () => {
    const asked = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      row.hidden = (only.checked && row.classList.contains("lost")) || !asked.every((word) => words.get(row).includes(word));
      left += !row.hidden;
    }
    shown.textContent = left === rows.length ? "" : `${left} of ${rows.length} shown`;
  };
  find.addEventListener("input", show);
  only.addEventListener("change", show);
  const texts = new Set(["name", "hit"]);
  for (const head of table.tHead.querySelectorAll("th[data-key]")) {
    head.querySelector("button").addEventListener("click", () => {
      const key = head.dataset.key, text = texts.has(key);
      const rising = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "descending" : text || key === "mz" || key === "time";
      for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const value = (row) => row.dataset[key] ?? "";
      const order = (a, b) => {
        const x = value(a), y = value(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const less = text ? x.localeCompare(y, "en", { numeric: true }) : x - y;
        return rising ? less : -less;
      };
      body.append(...rows.sort(order));
    });
  }
})();
