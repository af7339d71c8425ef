// Small things that a style sheet cannot do: animations that stop, boxes that say that they scroll, a theme before the first click.
"use strict";

const still = matchMedia("(prefers-reduced-motion: reduce)");

function addButton(animation) {
  const button = document.createElement("button");
  button.type = "button";
  let playing = !still.matches;
  const show = () => {
    animation.classList.toggle("playing", playing);
    animation.classList.toggle("paused", !playing);
    button.textContent = playing ? "Pause" : "Play";
  };
  button.addEventListener("click", () => {
    playing = !playing;
    show();
  });
  show();
  animation.append(button);
}

// a box that scrolls can be reached by keyboard and shows a shadow at the hidden side
function markWide() {
  const boxes = document.querySelectorAll(
    ".bd-article :is(mjx-container, pre, .pst-scrollable-table-container)",
  );
  const wide = Array.from(boxes, (box) => {
    const formula = box.querySelector(":scope > mjx-math"); // beside it lies a hidden copy for screen readers
    return (formula ? formula.scrollWidth : box.scrollWidth) > box.clientWidth + 1;
  });
  boxes.forEach((box, i) => {
    box.classList.toggle("wide", wide[i]);
    if (wide[i]) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  });
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".animation").forEach(addButton);
  // a fold and the search button are named by the words in them
  for (const named of document.querySelectorAll(
    "details.hide > summary[aria-label], .search-button-field[aria-label]",
  ))
    named.removeAttribute("aria-label");
  markWide();
});
addEventListener("load", () => {
  window.MathJax?.startup?.promise?.then(markWide);
  markWide();
});
addEventListener("resize", markWide);
