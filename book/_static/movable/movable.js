/* The frame of the movable figures: controls, plots and a sentence in the place of a still.

   movable.register(name, build) looks for <div data-movable="name"><div class="still">…</div></div> and calls
   build(figure, maths, data, alphaBar), which adds controls and plots and hands over what to draw. The still is hidden
   only when a first draw has succeeded: it stays if the data are missing, and comes back if a later draw fails.
   Nothing moves by itself: a figure that can walk has a button for it, and stands still while it is off the screen. */
(function () {
  "use strict";
  const PAUSE = 300; // milliseconds from a change to that of the sentence, which may be read out
  let inputs = 0;
  function make(parent, tag, attributes, html = "") {
    const element = document.createElement(tag);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    element.innerHTML = html;
    parent.append(element);
    return element;
  }

  class Figure {
    constructor(root) {
      this.root = root;
      const label = root.querySelector("[aria-label]")?.getAttribute("aria-label") ?? "A figure that can be moved";
      this.live = make(root, "div", { class: "live", role: "group", "aria-label": label });
      this.controls = make(this.live, "div", { class: "controls" });
      this.keys = make(this.live, "div", { class: "keys" });
      this.panels = make(this.live, "div", { class: "panels" });
      this.sentence = make(this.live, "p", { class: "sentence", "aria-live": "polite" });
      this.plots = [];
    }

    on(element, event, action) {
      element.addEventListener(event, () => {
        this.attempt(action);
        this.redraw();
      });
      return element;
    }

    /** A slider with its label and its value in sight; on a log slider each step multiplies. Returns { value }. */
    slider(label, { min, max, step, value, log = false, show = String }) {
      const [raw, real] = log ? [Math.log10, (v) => 10 ** v] : [Number, Number];
      const id = `movable-${++inputs}`;
      const words = `<label for="${id}">${label}</label><output for="${id}" aria-live="off"></output>`;
      const box = make(this.controls, "div", { class: "slider" }, words);
      const input = make(box, "input", { type: "range", id, min: raw(min), max: raw(max), step });
      const shown = () => {
        box.children[1].textContent = show(real(input.value));
        input.setAttribute("aria-valuetext", box.children[1].textContent);
      };
      this.on(input, "input", shown);
      const slider = {
        get value() { return real(input.value); },
        set value(v) { input.value = raw(v); shown(); },
      };
      return Object.assign(slider, { value });
    }

    button(label, action) {
      return this.on(make(this.controls, "button", { type: "button" }, label), "click", action);
    }

    /** A box to tick; returns the input, whose checked is its value. */
    tick(label, changed = () => {}) {
      const box = make(this.controls, "label", { class: "tick" }, `<input type="checkbox"><span>${label}</span>`);
      return this.on(box.firstChild, "change", changed);
    }

    /** A button that calls step again and again, until it is pressed once more. */
    play(step) {
      let [playing, seen, before, next] = [false, true, 0, 0];
      const go = () => {
        cancelAnimationFrame(next);
        if (playing && seen) next = requestAnimationFrame(turn);
      };
      const turn = (now) => {
        go();
        if (now - before < 40) return;
        before = now;
        step();
        this.redraw();
      };
      const button = this.button("Play", () => {
        playing = !playing;
        button.textContent = playing ? "Pause" : "Play";
        this.sentence.setAttribute("aria-live", playing ? "off" : "polite");
        go();
      });
      new IntersectionObserver(([entry]) => {
        seen = entry.isIntersecting;
        go();
      }).observe(this.live);
    }

    plot(options) {
      this.plots.unshift(new MovablePlot(this.panels, options));
      return this.plots[0];
    }

    number = (v, digits) => v.toFixed(digits).replace("-", "−");
    /** What the colours mean: pairs [style, words]. */
    key(entries) {
      for (const [style, words] of entries) make(this.keys, "span", {}, `<i class="swatch ${style}"></i>${words}`);
    }

    /** Say in words what is seen; changed when the hand rests, or now and then while it moves. */
    say(words) {
      this.words = words;
      this.timer ??= setTimeout(() => {
        this.timer = null;
        if (this.sentence.innerHTML !== this.words) this.sentence.innerHTML = this.words;
      }, this.sentence.innerHTML ? PAUSE : 0);
    }

    redraw() {
      this.waiting ??= requestAnimationFrame(() => this.attempt(() => this.drawNow()));
    }

    drawNow() {
      this.waiting = null;
      this.plots.forEach((plot) => plot.measure());
      this.draw();
      this.plots.forEach((plot) => plot.show());
    }

    attempt(work) {
      try {
        work();
      } catch (error) {
        console.warn("a movable figure shows its still:", error);
        this.live.remove();
        this.root.classList.remove("moves");
      }
    }
  }

  globalThis.movable = {
    register(name, build) {
      for (const root of document.querySelectorAll(`[data-movable="${name}"]`)) {
        const figure = new Figure(root);
        figure.attempt(() => {
          const { schedule, [name]: data } = movableData;
          build(figure, movableMaths, data, movableMaths.linearSchedule(schedule.T, schedule.beta1, schedule.betaT));
          root.classList.add("moves");
          figure.drawNow();
          new ResizeObserver(() => figure.redraw()).observe(figure.live);
        });
      }
    },
  };
})();
