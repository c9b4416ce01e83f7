// What makes the page quicker; everything here also works without it.
"use strict";
(() => {
  const $ = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const status = (text) => { $("#status").textContent = text; };
  const field = $("#q");

  let fading = 0;
  function warn(text) {  // for what people see too
    status(text);
    $("#status").className = "toast";
    clearTimeout(fading);
    fading = setTimeout(() => { $("#status").className = "unseen"; }, 6000);
  }

  // -- votes, saved, read -------------------------------------------------------------------------------------------
  const KINDS = { vote: "Voted", save: "Saved", read: "Marked as read" };
  const UNDONE = { vote: "Vote taken back", save: "Taken out of saved", read: "Marked as unread" };

  function shown(button, told) {
    button.value = told.on ? "un" + told.kind : told.kind;
    button.setAttribute("aria-pressed", String(told.on));
    if (button.dataset.on) { button.textContent = told.on ? button.dataset.on : button.dataset.off; }
    if (told.kind === "vote") {
      const count = told.votes.toLocaleString("en-US");
      $(".count", button).textContent = told.shown;
      button.setAttribute("aria-label", button.getAttribute("aria-label").replace(/, [\d,]+ so far$/, `, ${count} so far`));
    }
    if (told.kind === "read") { button.closest(".row").classList.toggle("seen", told.on); }
    status(told.on ? KINDS[told.kind] : UNDONE[told.kind]);
  }

  async function sent(form, button) {
    const body = new URLSearchParams(new FormData(form));
    body.set("do", button.value);
    button.disabled = true;
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "application/json" } });
      if (answer.ok) {
        shown(button, await answer.json());
        sessionStorage.setItem("marked", Date.now());
      } else if (answer.status === 401 || answer.status === 403) {
        location.reload();  // the session has ended, or the page is older than the cookie
      } else {
        warn(answer.status === 429 ? "Too many at once. Wait a moment." : "That did not work. Nothing was changed.");
      }
    } catch (error) {
      warn("The server cannot be reached. Nothing was changed.");
    } finally {
      button.disabled = false;
      button.focus({ preventScroll: true });
    }
  }

  // Going back shows a page as it was; where something was marked since, it is asked for again.
  const again = performance.getEntriesByType("navigation")[0]?.type === "back_forward";
  addEventListener("pageshow", (event) => {
    if (!again && !event.persisted) { history.replaceState({ at: Date.now() }, ""); }
    else if (history.state?.at < Number(sessionStorage.getItem("marked"))) { location.reload(); }
  });

  document.addEventListener("submit", (event) => {
    if (event.target.matches("form.mark") && event.submitter) {
      event.preventDefault();
      sent(event.target, event.submitter);
    }
  });

  const tab = $(".tabs [aria-current]");  // on a telephone the tabs may be wider than the window
  if (tab) { $(".tabs ul").scrollLeft = tab.offsetLeft + tab.offsetWidth - $(".tabs ul").clientWidth; }

  // -- light and dark -----------------------------------------------------------------------------------------------
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const turn = $(".theme button");
  const offered = () => { turn.value = dark() ? "light" : "dark"; };
  offered();
  system.addEventListener("change", offered);
  $(".theme").addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = new URLSearchParams(new FormData(event.target));
    body.set("theme", turn.value);
    root.dataset.theme = turn.value;
    offered();
    document.dispatchEvent(new Event("theme"));
    await fetch(event.target.action, { method: "POST", body, redirect: "manual" });
  });

  // -- search as you type -------------------------------------------------------------------------------------------
  // The answer is the page that the form would have led to; its results take the place of what is shown. First without the
  // nearest sentences, which take longest, then with them once nothing is typed any more. A newer question ends an older one.
  // Going back leads to the question before, not to every letter: what is typed in one sitting is one entry of the history.
  const WAIT = 140, REST = 420;
  let asking = null, timer = 0, last = "", sitting = false, shownAt = location.pathname + location.search;

  function address(form) {
    const url = new URL(form.action);
    for (const [name, value] of new FormData(form)) { if (value) { url.searchParams.append(name, value); } }
    return url;
  }

  function asked() {
    const narrow = $("#narrow");
    if (!narrow) { return address(field.form); }
    const url = address(narrow);
    url.searchParams.delete("q");
    if (field.value.trim()) { url.searchParams.set("q", field.value.trim()); }
    return url;
  }

  async function look(url, quick, first = true) {
    if (asking) { asking.abort(); }
    const mine = asking = new AbortController(), stale = $("[data-live]") || $("#main");
    if (first) { stale.setAttribute("aria-busy", "true"); }  // what is shown answers another question
    const from = new URL(url);
    if (quick) { from.searchParams.set("quick", "1"); }
    try {
      const answer = await fetch(from, { signal: mine.signal, headers: { Accept: "text/html" } });
      if (answer.redirected) { location.assign(url); return false; }  // to the form that asks for the key
      if (!answer.ok && answer.status !== 400) { throw new Error(String(answer.status)); }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine.signal.aborted) { return false; }
      show(page, url);
      return true;
    } catch (error) {
      if (error.name !== "AbortError") { warn("The search cannot be reached."); }
      return false;
    } finally {
      if (asking === mine) { asking = null; stale.removeAttribute("aria-busy"); }
    }
  }

  function show(page, url) {
    const live = $("[data-live]"), found = $("[data-live]", page);
    if (live && found) {
      live.replaceWith(found);
      $("#narrow input[name=q]").value = field.value.trim();
      for (const part of all("[data-follow]")) {  // what else says something about the query, unless somebody is at it
        const fresh = $(`[data-follow="${part.dataset.follow}"]`, page);
        if (fresh && !all("input:not([type=hidden])", part).some((one) => one.value !== one.defaultValue)) { part.replaceWith(fresh); }
      }
    } else {
      $("#main").replaceWith($("#main", page));
      all(".tabs [aria-current]").forEach((tab) => tab.removeAttribute("aria-current"));
      scrollTo(0, 0);
    }
    if (url.pathname + url.search !== shownAt) { history[sitting ? "replaceState" : "pushState"]({ at: Date.now() }, "", url); }
    sitting = true;
    shownAt = location.pathname + location.search;
    document.title = page.title;
    const results = $("#results");
    status(results && (results.dataset.count || $(".empty", results)?.textContent.trim()) || "");
  }

  function type(wait) {
    clearTimeout(timer);
    const url = asked();
    if (url.href === last) { return; }
    timer = setTimeout(async () => {
      last = url.href;
      const quick = url.searchParams.has("q") && url.searchParams.get("how") !== "words";
      if (await look(url, quick) && quick) { timer = setTimeout(() => look(url, false, false), REST); }
    }, wait);
  }

  field.addEventListener("focus", () => { sitting = false; });
  field.addEventListener("input", () => { if (field.value.trim() || $("[data-live]")) { type(WAIT); } });
  field.form.addEventListener("submit", (event) => {
    if ($("[data-live]")) { event.preventDefault(); last = ""; clearTimeout(timer); look(asked(), false); }
  });
  document.addEventListener("change", (event) => { if (event.target.closest("#narrow")) { sitting = false; type(0); } });
  document.addEventListener("submit", (event) => { if (event.target.id === "narrow") { event.preventDefault(); last = ""; type(0); } });
  addEventListener("popstate", () => { if (location.pathname + location.search !== shownAt) { location.reload(); } });  // else a #part

  // -- keys ---------------------------------------------------------------------------------------------------------
  const here = () => $(".row:focus") || document.activeElement?.closest(".row") || $(".row.here") || $(".item.row");

  function move(by) {
    const rows = all("#results .row"), at = rows.indexOf(here());
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
    if (!next) { return; }
    all(".row.here").forEach((row) => row.classList.remove("here"));
    next.classList.add("here");
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  const press = (selector) => () => { const row = here(); if (row) { $(selector, row)?.click(); } };
  const dialog = $("#keys");
  const DEEDS = {
    "/": () => { field.focus(); field.select(); },
    j: () => move(1),
    k: () => move(-1),
    o: press("a.open, a.source"),
    v: press("button.vote"),
    s: press("button[value$=save]"),
    r: press("button[value$=read]"),
    m: () => ($("a.like", here() || document) || $("a.like"))?.click(),
    "?": () => dialog.showModal(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || dialog.open) { return; }
    const typing = event.target.matches("input, select, textarea, [contenteditable]");
    if (event.key === "Escape" && event.target === field) { field.blur(); move(0); return; }
    if (event.key === "Escape") { all(".row.here").forEach((row) => row.classList.remove("here")); }
    if (typing && !event.target.matches("input[type=checkbox], input[type=radio]")) { return; }
    const deed = DEEDS[event.key];
    if (deed && !(event.target.id === "canvas" && event.key !== "/" && event.key !== "?")) { event.preventDefault(); deed(); }
  });
  $("[data-keys]").addEventListener("click", (event) => { event.preventDefault(); dialog.showModal(); });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) { dialog.close(); } });
})();
