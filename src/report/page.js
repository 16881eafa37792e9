"use strict";
(() => {
  const root = document.documentElement;

  // light, dark, as the system has it; remembered where a page may remember
  const theme = document.getElementById("theme");
  const remember = (value) => { try { localStorage.setItem("kvlab-theme", value); } catch { /* not allowed */ } };
  const recall = () => { try { return localStorage.getItem("kvlab-theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "")) === "dark";
  if (recall()) root.dataset.theme = recall();
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remember(root.dataset.theme);
  });

  // a click on a head sorts by its column: numbers by size, largest first; words by alphabet
  const number = (text) => {
    const found = text.replace(/\u2212/g, "-").match(/[-+]?[0-9]*\.?[0-9]+(e[-+]?[0-9]+)?/i);
    return found ? parseFloat(found[0]) : NaN;
  };
  const compare = (a, b, isNumber) => {
    if (!isNumber) return a.localeCompare(b, root.lang);
    const x = number(a), y = number(b);
    return isNaN(x) ? (isNaN(y) ? 0 : 1) : isNaN(y) ? -1 : y - x; // what is not known comes last
  };
  const sort = (head) => {
    const column = head.cellIndex, body = head.closest("table").tBodies[0];
    const isNumber = head.classList.contains("n"), first = isNumber ? "descending" : "ascending";
    const isAgain = head.getAttribute("aria-sort") === first;
    const text = (row) => row.cells[column].textContent;
    const rows = [...body.rows].sort((a, b) => compare(text(a), text(b), isNumber));
    if (isAgain) rows.reverse();
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isAgain ? (isNumber ? "ascending" : "descending") : first);
    body.append(...rows);
  };
  for (const head of document.querySelectorAll("th[scope=col]")) {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(head));
    head.addEventListener("keydown", (e) => { if (e.key === "Enter") sort(head); });
  }

  // what a mark of a chart says, at once instead of after a while
  const tip = document.body.appendChild(document.createElement("div"));
  tip.id = "tip";
  tip.hidden = true;
  const marked = (target) => {
    for (let e = target; e instanceof SVGElement && !(e instanceof SVGSVGElement); e = e.parentNode) {
      const title = e.querySelector(":scope > title");
      if (title) { e.dataset.tip = title.textContent; title.remove(); }
      if (e.dataset.tip) return e;
    }
    return null;
  };
  document.addEventListener("pointerover", (e) => {
    const mark = marked(e.target);
    tip.hidden = !mark;
    if (!mark) return;
    tip.textContent = mark.dataset.tip;
    const box = mark.getBoundingClientRect(), width = tip.offsetWidth;
    const x = Math.min(Math.max(box.left + box.width / 2 - width / 2, 8), root.clientWidth - width - 8);
    const above = box.top - tip.offsetHeight - 8;
    tip.style.left = x + scrollX + "px";
    tip.style.top = (above > 0 ? above : box.bottom + 8) + scrollY + "px";
  });

  // commands are copied by a button where the browser allows it
  if (navigator.clipboard) {
    for (const box of document.querySelectorAll("pre.command")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = root.lang.startsWith("zh") ? "复制" : "copy";
      const text = box.textContent;
      button.addEventListener("click", () => navigator.clipboard.writeText(text).then(() => { button.textContent = "✓"; }));
      box.append(button);
    }
  }

  // the forgetting map at any step of any policy; per token pairs of steps after it and heads that lose it then
  for (const player of document.querySelectorAll(".player")) {
    const heads = Number(player.dataset.heads), policies = JSON.parse(player.dataset.lost);
    const policy = player.querySelector("select"), step = player.querySelector("input"), said = player.querySelector("output");
    const map = player.appendChild(player.parentNode.querySelector("details p.held:last-of-type").cloneNode(true));
    map.removeAttribute("aria-labelledby");
    const tokens = map.querySelectorAll("b");
    const show = () => {
      const read = Number(step.value), changes = policies[policy.selectedIndex];
      let sum = 0;
      tokens.forEach((token, i) => {
        let held = heads;
        for (let k = 0; k < changes[i].length && i + changes[i][k] <= read; k += 2) held -= changes[i][k + 1];
        token.className = i < read ? "f" + Math.ceil(10 * held / heads) : "n";
        token.title = i < read ? Math.round(100 * held / heads) + " %" : "";
        sum += i < read ? held / heads : 0;
      });
      said.textContent = `${read} / ${step.max}, ${Math.round(100 * sum / Math.min(read, tokens.length))} %`;
      map.setAttribute("aria-label", said.textContent);
    };
    policy.addEventListener("change", show);
    step.addEventListener("input", show);
    player.hidden = false;
    player.parentNode.querySelector("details").open = false; // the player shows it
    show();
  }

  // the contents say where the reader is
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-10% 0px -80% 0px" });
  for (const section of document.querySelectorAll("main > section")) watch.observe(section);

  // closed parts are printed too
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const d of opened) d.open = true;
  });
  addEventListener("afterprint", () => { for (const d of opened) d.open = false; });
})();
