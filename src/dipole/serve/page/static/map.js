// The map: points on a canvas, to drag, zoom, hover and walk over with arrows. The list below it says the same in words.
"use strict";
(() => {
  const box = document.querySelector(".map");
  const canvas = document.getElementById("canvas"), pen = canvas.getContext("2d");
  const said = document.getElementById("map-said"), legend = document.getElementById("legend");
  const colour = document.getElementById("colour");
  const LIGHT = ["#17635b", "#c4501b", "#3b64b8", "#a3781a", "#8a3f8f", "#4f8a2f", "#c03a5b", "#2c8fa3", "#7a5a44", "#5f6470"];
  const DARK = ["#6cc7b9", "#f0955f", "#8fb0f5", "#e0bb5a", "#d392d8", "#9ccf79", "#f08ba4", "#73cfe0", "#c9a58c", "#aeb4bd"];
  const OTHER = 9;
  let points = [], regions = [], groups = [], names = [], chosen = -1, hovered = -1;
  let scale = 1, x0 = 0, y0 = 0, width = 0, height = 0, frame = 0, palette = LIGHT, ink = "#000", soft = "#000", card = "#fff";

  // -- where things are ---------------------------------------------------------------------------------------------
  const half = () => Math.max(20, Math.min(width, height * 1.6) / 2 - 34);
  const stretch = () => Math.max(20, height / 2 - 34);
  const across = (point) => width / 2 + (point[0] - x0) * half() * scale;
  const down = (point) => height / 2 - (point[1] - y0) * stretch() * scale;
  const radius = () => Math.min(9, (points.length > 1500 ? 2.2 : points.length > 300 ? 3.2 : 4.6) * Math.sqrt(scale));

  function nearest(px, py, within) {
    let best = -1, least = within * within;
    for (let i = 0; i < points.length; i += 1) {
      const dx = across(points[i]) - px, dy = down(points[i]) - py, far = dx * dx + dy * dy;
      if (far < least) { least = far; best = i; }
    }
    return best;
  }

  // -- drawing ------------------------------------------------------------------------------------------------------
  function colours() {
    const style = getComputedStyle(document.documentElement);
    [ink, soft, card] = ["--ink", "--soft", "--card"].map((name) => style.getPropertyValue(name).trim());
    palette = style.colorScheme.includes("dark") ? DARK : LIGHT;
  }

  function grouped() {
    const by = colour.value;
    if (by === "tag") {
      const counts = new Map();
      for (const point of points) { for (const tag of point[5]) { counts.set(tag, (counts.get(tag) || 0) + 1); } }
      const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, OTHER).map(([tag]) => tag);
      groups = points.map((point) => { const at = top.findIndex((tag) => point[5].includes(tag)); return at < 0 ? OTHER : at; });
      names = [...top, "other"];
    } else if (by === "date") {
      const days = points.map((point) => point[6]).filter(Boolean).sort();
      const cuts = [0, 1, 2, 3, 4].map((i) => days[Math.floor(i * days.length / 5)]).filter((day, i, list) => list.indexOf(day) === i);
      groups = points.map((point) => (point[6] ? cuts.filter((cut) => cut <= point[6]).length - 1 : OTHER));
      names = cuts.map((cut) => `from ${cut}`);
      names[OTHER] = "no date";
    } else {
      groups = points.map((point) => Math.min(point[2], OTHER));
      names = regions.map((region) => region.name).slice(0, OTHER + 1);
    }
    const present = new Set(groups);
    legend.replaceChildren(...names.map((name, i) => [name, i]).filter(([name, i]) => name && present.has(i)).map(([name, i]) => {
      const item = document.createElement("li"), dot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const circle = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      dot.setAttribute("viewBox", "0 0 10 10");
      dot.setAttribute("aria-hidden", "true");
      for (const [key, value] of Object.entries({ cx: 5, cy: 5, r: 5, fill: palette[i] })) { circle.setAttribute(key, value); }
      dot.append(circle);
      item.append(dot, name);
      return item;
    }));
  }

  function draw() {
    frame = 0;
    const ratio = devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const r = radius();
    pen.globalAlpha = points.length > 800 ? 0.7 : 0.85;
    for (let group = palette.length - 1; group >= 0; group -= 1) {
      pen.fillStyle = palette[group];
      pen.beginPath();
      for (let i = 0; i < points.length; i += 1) {
        if (groups[i] !== group) { continue; }
        const px = across(points[i]), py = down(points[i]);
        if (px < -9 || py < -9 || px > width + 9 || py > height + 9) { continue; }
        pen.moveTo(px + r, py);
        pen.arc(px, py, r, 0, 7);
      }
      pen.fill();
    }
    pen.globalAlpha = 1;
    if (colour.value === "region") { labels(); }
    for (const [at, wide] of [[hovered, 1.5], [chosen, 2.5]]) {
      if (at < 0) { continue; }
      pen.beginPath();
      pen.arc(across(points[at]), down(points[at]), r + 4, 0, 7);
      pen.lineWidth = wide;
      pen.strokeStyle = ink;
      pen.stroke();
    }
    if (hovered >= 0) { title(points[hovered]); } else if (chosen >= 0 && document.activeElement === canvas) { title(points[chosen]); }
  }

  function labels() {
    const taken = [];
    pen.font = "600 13px system-ui, sans-serif";
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (const region of regions) {
      const text = region.name, w = pen.measureText(text).width + 12;
      const px = Math.min(width - w / 2 - 6, Math.max(w / 2 + 6, across([region.x, region.y]))), py = down([region.x, region.y]);
      if (py < 12 || py > height - 12 || across([region.x, region.y]) < 0 || across([region.x, region.y]) > width) { continue; }
      if (taken.some(([a, b, c]) => Math.abs(a - px) < (c + w) / 2 && Math.abs(b - py) < 22)) { continue; }
      taken.push([px, py, w]);
      pen.lineWidth = 4;
      pen.lineJoin = "round";
      pen.strokeStyle = card;
      pen.strokeText(text, px, py);
      pen.fillStyle = ink;
      pen.fillText(text, px, py);
    }
  }

  function title(point) {
    pen.font = "14px system-ui, sans-serif";
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    let text = point[4];
    const most = Math.min(420, width - 40);
    while (text.length > 4 && pen.measureText(text).width > most) { text = text.slice(0, -2).trimEnd().replace(/…$/, "") + "…"; }
    const w = pen.measureText(text).width + 20, h = 30;
    const px = Math.min(width - w - 6, Math.max(6, across(point) - w / 2));
    const py = down(point) - radius() - 14 - h < 4 ? down(point) + radius() + 12 : down(point) - radius() - 12 - h;
    pen.beginPath();
    pen.roundRect(px, py, w, h, 7);
    pen.fillStyle = ink;
    pen.fill();
    pen.fillStyle = card;
    pen.fillText(text, px + 10, py + h / 2 + 0.5);
  }

  const again = () => { if (!frame) { frame = requestAnimationFrame(draw); } };

  function size() {
    const ratio = devicePixelRatio || 1;
    width = canvas.clientWidth;
    height = canvas.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    again();
  }

  // -- moving -------------------------------------------------------------------------------------------------------
  function zoom(by, px = width / 2, py = height / 2) {
    const now = Math.min(60, Math.max(1, scale * by));
    const x = x0 + (px - width / 2) / (half() * scale), y = y0 - (py - height / 2) / (stretch() * scale);
    x0 = x - (px - width / 2) / (half() * now);
    y0 = y + (py - height / 2) / (stretch() * now);
    scale = now;
    kept();
  }

  function kept() {
    x0 = Math.min(1.1, Math.max(-1.1, x0));
    y0 = Math.min(1.1, Math.max(-1.1, y0));
    if (scale === 1) { x0 = 0; y0 = 0; }
    again();
  }

  function whole() { scale = 1; kept(); }

  function tell(point) {
    const name = document.createElement("b");
    name.textContent = point[4];
    const rest = [regions[point[2]]?.name, point[6], point[5].join(", ")].filter(Boolean).join(" · ");
    said.replaceChildren(name, rest ? ` ${rest}` : "");
  }

  const go = (at) => { if (at >= 0) { location.href = box.dataset.item + encodeURIComponent(points[at][3]); } };

  function choose(at) {
    chosen = at;
    const px = across(points[at]), py = down(points[at]);
    if (px < 20 || py < 20 || px > width - 20 || py > height - 20) { [x0, y0] = points[at]; }
    tell(points[at]);
    again();
  }

  function walk(dx, dy) {
    if (chosen < 0) { choose(Math.max(0, nearest(width / 2, height / 2, Infinity))); return; }
    const from = [across(points[chosen]), down(points[chosen])];
    let best = -1, least = Infinity;
    for (let i = 0; i < points.length; i += 1) {
      const ax = across(points[i]) - from[0], ay = down(points[i]) - from[1];
      const ahead = ax * dx + ay * dy, aside = Math.abs(ax * dy) + Math.abs(ay * dx);
      const same = !ahead && !aside && i !== chosen && (i > chosen) === (dx + dy > 0);  // at one place: right and down through all of them
      if (!same && (ahead <= 0 || aside > 2 * ahead)) { continue; }
      const far = same ? Math.abs(i - chosen) / points.length - 1 : ahead + 2 * aside;
      if (far < least) { least = far; best = i; }
    }
    if (best >= 0) { choose(best); }
  }

  const KEYS = {
    ArrowLeft: () => walk(-1, 0), ArrowRight: () => walk(1, 0), ArrowUp: () => walk(0, -1), ArrowDown: () => walk(0, 1),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: whole, Enter: () => go(chosen),
    Escape: () => { chosen = -1; said.textContent = ""; again(); },
  };
  canvas.addEventListener("keydown", (event) => {
    const deed = KEYS[event.key];
    if (!deed || event.ctrlKey || event.metaKey || event.altKey || !points.length) { return; }
    event.preventDefault();
    if (event.shiftKey && event.key.startsWith("Arrow")) {
      x0 += ({ ArrowLeft: -0.2, ArrowRight: 0.2 }[event.key] || 0) / scale;
      y0 += ({ ArrowDown: -0.2, ArrowUp: 0.2 }[event.key] || 0) / scale;
      kept();
    } else { deed(); }
  });
  canvas.addEventListener("focus", again);
  canvas.addEventListener("blur", again);

  const held = new Map();
  let moved = 0, apart = 0;
  const place = (event) => { const edge = canvas.getBoundingClientRect(); return [event.clientX - edge.left, event.clientY - edge.top]; };
  canvas.addEventListener("pointerdown", (event) => { held.set(event.pointerId, place(event)); moved = 0; apart = 0; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", (event) => {
    const now = place(event), before = held.get(event.pointerId);
    if (!before) {
      const at = nearest(...now, 14);
      if (at !== hovered) { hovered = at; canvas.classList.toggle("on-point", at >= 0); if (at >= 0) { tell(points[at]); } again(); }
      return;
    }
    if (held.size === 2) {
      held.set(event.pointerId, now);
      const [a, b] = [...held.values()], far = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (apart) { zoom(far / apart, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2); }
      apart = far;
      moved = 99;
      return;
    }
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    x0 -= (now[0] - before[0]) / (half() * scale);
    y0 += (now[1] - before[1]) / (stretch() * scale);
    held.set(event.pointerId, now);
    if (moved > 4) { canvas.classList.add("dragged"); kept(); }
  });
  const released = (event) => {
    if (!held.delete(event.pointerId)) { return; }
    canvas.classList.remove("dragged");
    apart = 0;
    if (event.type === "pointerup" && moved <= 4) { go(nearest(...place(event), event.pointerType === "touch" ? 24 : 14)); }
  };
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", released);
  canvas.addEventListener("pointerleave", () => { if (hovered >= 0) { hovered = -1; canvas.classList.remove("on-point"); again(); } });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY * 0.0015), ...place(event)); }, { passive: false });
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => ({ in: () => zoom(1.6), out: () => zoom(1 / 1.6), all: whole })[button.dataset.zoom]());
  }
  colour.addEventListener("change", () => { grouped(); again(); });
  const repaint = () => { colours(); grouped(); again(); };
  document.addEventListener("theme", repaint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  new ResizeObserver(size).observe(canvas);

  // -- getting the points -------------------------------------------------------------------------------------------
  async function load() {
    for (let wait = 300, until = Date.now() + 15 * 60000; Date.now() < until; wait = Math.min(3000, wait * 1.4)) {
      const answer = await fetch(box.dataset.points, { headers: { Accept: "application/json" } });
      if (answer.status === 202) { said.textContent = "Drawing the map …"; await new Promise((done) => setTimeout(done, wait)); continue; }
      if (!answer.ok) { break; }
      const found = await answer.json();
      if (!found.points.length) { box.hidden = true; document.querySelector(".map-tools").hidden = true; return; }
      if (document.getElementById("drawing")) { location.reload(); return; }
      ({ points, regions } = found);
      said.textContent = "";
      colours();
      grouped();
      size();
      canvas.dataset.ready = String(points.length);
      return;
    }
    said.textContent = "The map could not be loaded.";
  }
  for (const part of document.querySelectorAll(".needs-script")) { part.hidden = false; }
  load();
})();
