/* A card beside a reference shows the equation, statement, exercise or figure that it refers to. What stands on another
   page comes from _static/pages/, a script for each page, since a page opened from a folder cannot load another page. */
(() => {
  "use strict";
  const NUMBERED = "div.math, .proof, .exercise, figure";
  const root = new URL(document.documentElement.dataset.content_root, location.href);
  const pages = {};
  window.page = (name, { cards }) => pages[name].done(cards);

  function load(name) {
    if (!pages[name]) {
      const entry = (pages[name] = {});
      entry.cards = new Promise((done) => { entry.done = done; });
      const script = document.createElement("script");
      script.src = `${root.href}_static/pages/${name}.js`;
      script.onerror = () => entry.done({});
      document.head.append(script);
    }
    return pages[name].cards;
  }

  /** What a link refers to, as an element of its own, or nothing. */
  async function target(link) {
    const url = new URL(link.href);
    const id = decodeURIComponent(url.hash.slice(1));
    if (url.pathname === location.pathname) {
      const found = document.getElementById(id);
      if (!found?.matches(NUMBERED)) return null;
      const copy = found.cloneNode(true);
      copy.querySelectorAll(".headerlink, button, .live, script").forEach((part) => part.remove());
      copy.querySelectorAll(".movable").forEach((part) => part.classList.remove("moves"));
      [copy, ...copy.querySelectorAll(":not(svg *)[id]")].forEach((part) => part.removeAttribute("id"));
      return copy;
    }
    const name = url.href.slice(root.href.length).replace(/\.html(#.*)?$/, "");
    if (!/^(book|notebooks)\//.test(name)) return null;
    const box = document.createElement("template");
    box.innerHTML = (await load(name))[id] ?? "";
    const copy = box.content.firstElementChild;
    for (const attribute of ["src", "href"])
      copy?.querySelectorAll(`[${attribute}]:not(svg *)`).forEach(
        (part) => part.setAttribute(attribute, new URL(part.getAttribute(attribute), url).href));
    return copy?.querySelector(".math") && !window.MathJax?.typesetPromise ? null : copy;
  }

  const card = document.createElement("div");
  Object.assign(card, { id: "preview", hidden: true });
  card.setAttribute("role", "tooltip");
  let current = null, timer = 0;

  function hide() {
    clearTimeout(timer);
    current?.removeAttribute("aria-describedby");
    current = null;
    card.hidden = true;
  }

  async function show(link) {
    if (link === current) return clearTimeout(timer);
    hide();
    current = link;
    const content = await target(link);
    if (!content || link !== current) return;
    window.MathJax?.typesetClear?.([card]);
    card.replaceChildren(content);
    card.hidden = false;
    if (!content.querySelector("mjx-container")) await window.MathJax?.typesetPromise?.([card]);
    const place = link.getBoundingClientRect(), width = document.documentElement.clientWidth;
    const below = place.bottom + card.offsetHeight + 8 < innerHeight || place.top < card.offsetHeight + 8;
    card.style.left = `${scrollX + Math.max(8, Math.min(place.left, width - card.offsetWidth - 8))}px`;
    card.style.top = `${scrollY + (below ? place.bottom + 4 : place.top - card.offsetHeight - 4)}px`;
    link.setAttribute("aria-describedby", "preview");
  }

  const later = (action, wait) => () => {
    clearTimeout(timer);
    timer = setTimeout(action, wait);
  };
  document.addEventListener("DOMContentLoaded", () => {
    document.body.append(card);
    for (const link of document.querySelectorAll("article a.reference.internal[href*='#'], article a.reference.internal[href^='#']")) {
      link.addEventListener("mouseenter", later(() => show(link), 150));
      link.addEventListener("mouseleave", later(hide, 250));
      link.addEventListener("focus", () => show(link));
      link.addEventListener("blur", later(hide, 250));
      link.addEventListener("click", hide);
    }
    card.addEventListener("mouseenter", () => clearTimeout(timer));
    card.addEventListener("mouseleave", later(hide, 250));
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  });
})();
