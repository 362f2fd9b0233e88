// Chooses which panel of every switch is shown: by metric and average, or by tab. Without scripts the first one shows.
(() => {
  const pick = { metric: null, average: "molecule" };
  const show = () => {
    for (const group of document.querySelectorAll("[data-switch]")) {
      const panels = [...group.children].filter((c) => c.classList.contains("panel"));
      const fits = (p, key) => !p.dataset[key] || !pick[key] || p.dataset[key] === pick[key];
      const chosen = panels.find((p) => fits(p, "metric") && fits(p, "average")) || panels[0];
      for (const panel of panels) panel.hidden = panel !== chosen;
    }
  };
  const metric = document.getElementById("metric");
  if (metric) {
    pick.metric = metric.value;
    metric.addEventListener("change", () => { pick.metric = metric.value; show(); });
  }
  for (const radio of document.querySelectorAll("input[name=average]"))
    radio.addEventListener("change", () => { pick.average = radio.value; show(); });
  for (const bar of document.querySelectorAll("[role=tablist]")) {
    const tabs = [...bar.querySelectorAll("[role=tab]")];
    const choose = (tab, focus) => {
      for (const other of tabs) {
        const on = other === tab;
        other.setAttribute("aria-selected", on);
        other.tabIndex = on ? 0 : -1;
        document.getElementById(other.getAttribute("aria-controls")).hidden = !on;
      }
      if (focus) tab.focus();
    };
    tabs.forEach((tab, i) => {
      tab.addEventListener("click", () => choose(tab, false));
      tab.addEventListener("keydown", (e) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
        if (step) choose(tabs[(i + step + tabs.length) % tabs.length], true);
      });
    });
  }
  show();
  // A box whose table is wider than it is fades out there, until it is scrolled to its end.
  const boxes = [...document.querySelectorAll(".scroll")];
  const fade = (box) => box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  const all = () => boxes.forEach(fade);
  for (const box of boxes) box.addEventListener("scroll", () => fade(box), { passive: true });
  if (window.ResizeObserver) { const seen = new ResizeObserver(all); boxes.forEach((box) => seen.observe(box)); }
  addEventListener("resize", all);
  all();
})();
