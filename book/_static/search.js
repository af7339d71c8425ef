/* The search: chapters before labs before the package, and excerpts with their formulas. The theme's excerpts are the
   pages' source, which it cannot even load when the book is opened from a folder. */
"use strict";

var Scorer = {
  score: (result) => {
    const [name, title, anchor, description, score] = result;
    // a page that is found by its title and by its text is found once
    if (!anchor && !description) result[1] = Search._index.titles[Search._index.docnames.indexOf(name)];
    const words = new URLSearchParams(location.search).get("q").trim().toLowerCase();
    const exact = /[_.]/.test(words) && title.toLowerCase().endsWith(words); // a name of the package
    if (description && exact) return score + 40;
    if (description) return score - 10;
    return score + (/^book\/\d/.test(name) ? 20 : /^notebooks\//.test(name) ? 10 : 0);
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};

(() => {
  const AROUND = 110;
  const pages = {};
  const ready = new Promise((done) => addEventListener("load", done)).then(() => window.MathJax?.startup?.promise);
  window.page = (name, { sections }) => pages[name].done(sections);

  function load(name) {
    if (!pages[name]) {
      const entry = (pages[name] = {});
      entry.sections = new Promise((done) => { entry.done = done; });
      const script = document.createElement("script");
      script.src = `_static/pages/${name}.js`;
      script.onerror = () => entry.done([]);
      document.head.append(script);
    }
    return pages[name].sections;
  }

  /** Some words around the first of those that were searched for; a formula is never cut. */
  function excerpt(text, at) {
    const parts = text.match(/(?:\\\(.*?\\\)|\S)+/g);
    let here = 0, position = 0;
    while (here < parts.length - 1 && (position += parts[here].length + 1) <= at) here += 1;
    let [first, last] = [here, here];
    for (let size = 0; size < AROUND && first > 0; size += parts[first].length) first -= 1;
    for (let size = 0; size < AROUND && last < parts.length - 1; size += parts[last].length) last += 1;
    const words = parts.slice(first, last + 1).join(" ");
    return `${first ? "… " : ""}${words}${last < parts.length - 1 ? " …" : ""}`;
  }

  async function explain(item, start) {
    const link = item.querySelector("a");
    const [file, id] = link.getAttribute("href").split("#");
    const sections = await load(file.replace(/\.html$/, ""));
    const plain = sections.map(([, text]) => text.replace(/\s+/g, " "));
    const inside = sections.findIndex(([name]) => name === id);
    const chosen = inside >= 0 ? inside : Math.max(0, plain.findIndex((text) => start.test(text)));
    if (!plain[chosen]) return;
    const line = document.createElement("p");
    line.className = "context";
    for (const part of excerpt(plain[chosen], Math.max(0, plain[chosen].search(start))).split(/(\\\(.*?\\\))/)) {
      if (part.startsWith("\\(")) line.append(part);
      else
        for (const [i, piece] of part.split(start).entries()) {
          const node = document.createElement(i % 2 ? "mark" : "span");
          node.textContent = piece;
          line.append(node);
        }
    }
    item.append(line);
    await ready;
    await window.MathJax?.typesetPromise?.([item]);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const query = new URLSearchParams(location.search).get("q");
    const results = document.getElementById("search-results");
    if (!query || !results) return;
    const words = query.toLowerCase().split(/[^\p{L}\p{N}_]+/u).filter((word) => word.length > 1);
    const start = new RegExp(`(?<![\\p{L}\\p{N}])(${words.join("|")})`, "iu"); // of a word: "nearly" has no "early"
    let queue = Promise.resolve();
    new MutationObserver((changes) => {
      for (const item of changes.flatMap((change) => [...change.addedNodes]))
        if (item.nodeName === "LI" && words.length) queue = queue.then(() => explain(item, start));
    }).observe(results, { childList: true, subtree: true });
  });
})();
