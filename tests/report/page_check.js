// What a reader would stumble over in the page as it is shown now: a list of faults, empty when there is none.
(() => {
  const faults = [];
  const fault = (what, e) => faults.push(`${what}: ${e.outerHTML.slice(0, 160)}`);
  const isShown = (e) => e.getClientRects().length !== 0;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)].filter(isShown);

  // the page is as wide as the window
  const page = document.scrollingElement;
  if (page.scrollWidth > innerWidth) {
    faults.push(`page: ${page.scrollWidth} px wide in a window of ${innerWidth}`);
    for (const e of all("body *")) {
      if (!e.closest(".scroll table") && e.getBoundingClientRect().right > innerWidth + 1) { fault("too wide", e); break; }
    }
  }

  // text stays in its box; only tables may scroll
  const holdsText = (e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim() !== "");
  for (const e of all("main *, nav *")) {
    if (e instanceof SVGElement || !holdsText(e) || getComputedStyle(e).display === "inline") continue;
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth !== 0) fault("text out of its box", e);
  }

  // figures: a name and a description for who does not see them, no text out of them, no two texts on each other
  for (const svg of document.querySelectorAll("figure svg")) {
    const text = (tag) => svg.querySelector(`:scope > ${tag}`)?.textContent.trim() ?? "";
    if (svg.getAttribute("role") !== "img") fault("figure without a role", svg);
    if (text("title") === "" || text("desc") === "") fault("figure without title or description", svg);
  }
  for (const svg of all("figure svg")) {
    const frame = svg.getBoundingClientRect();
    const boxes = all("text", svg).map((e) => ({ e, box: e.getBoundingClientRect() }));
    for (const { e, box } of boxes) {
      const slack = 1.5;
      if (box.left < frame.left - slack || box.right > frame.right + slack || box.top < frame.top - slack ||
          box.bottom > frame.bottom + slack) fault("text out of its figure", e);
    }
    for (let i = 0; i < boxes.length; i++) {
      for (let j = 0; j < i; j++) {
        const a = boxes[i].box, b = boxes[j].box;
        const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        // a line of text is taller than its letters
        if (x > 1 && y > 0.3 * Math.min(a.height, b.height, a.width, b.width)) {
          faults.push(`${svg.id}: "${boxes[i].e.textContent}" on "${boxes[j].e.textContent}" by ${x.toFixed(1)} x ${y.toFixed(1)}`);
        }
      }
    }
  }

  // text stands out from what is behind it
  const channels = (colour) => { // mixed colours are told as color(srgb 0 to 1 ...)
    const scale = colour.startsWith("color(srgb") ? 255 : 1;
    return colour.match(/[\d.]+/g).map((v, i) => Number(v) * (i < 3 ? scale : 1));
  };
  const luminance = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] > 0.5) return c;
    }
    return [255, 255, 255];
  };
  for (const e of all("main *, nav *")) {
    if (e instanceof SVGElement || !holdsText(e)) continue;
    const a = luminance(channels(getComputedStyle(e).color)), b = luminance(behind(e));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) fault(`contrast ${contrast.toFixed(2)}`, e);
  }
  return faults.slice(0, 20);
})()
