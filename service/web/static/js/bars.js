// The AUs of one face: name, bar of the probability with its threshold mark, score, decision.
import { faceColour } from "./colours.js";
import { el } from "./dom.js";

export class AuBars {
  #rows = new Map();
  #codes = "";
  #face = null;
  #other = null;

  /** A row's button shows that AU's map alone, or all active ones again; a row's mark moves its threshold. */
  constructor(view, thresholds, label = "Action Units") {
    this.view = view;
    this.thresholds = thresholds;
    this.last = el("span", {}, "score");
    this.list = el("ul", { class: "au-list", "aria-label": label });
    this.empty = el("p", { class: "hint empty" }, "No face is chosen.");
    this.element = el("div", { class: "au-bars" }, el("div", { class: "au-head", "aria-hidden": "true" }, el("span", {}, "Action Unit"), el("span", {}, "probability"), el("span", {}, "p"), this.last, el("span", {}, "")), this.empty, this.list);
    this.list.addEventListener("keydown", (event) => this.#move(event));
    view.addEventListener("change", () => this.#update());
    thresholds.addEventListener("change", () => this.#update());
  }

  /** @param other the same face by another checkpoint: differences to it are shown. */
  show(face, other = null) {
    this.#face = face;
    this.#other = other;
    this.last.textContent = other ? "Δ p" : "score";
    this.empty.hidden = Boolean(face);
    this.list.hidden = !face;
    if (!face) return;
    const codes = face.aus.map((au) => au.au).join(" ");
    if (codes !== this.#codes) this.#build(face);
    this.#codes = codes;
    this.#update();
  }

  #build(face) {
    this.#rows.clear();
    this.list.replaceChildren(...face.aus.map((au) => this.#row(au)));
  }

  #row({ au, name }) {
    const pick = el("button", { type: "button", class: "au-pick", "aria-pressed": "false", title: `Show the ROI map of ${au} alone` }, el("b", {}, au), el("span", { class: "au-name" }, name ?? ""));
    pick.addEventListener("click", () => this.view.update({ au: this.view.au === au ? null : au }));
    const fill = el("div", { class: "au-fill" });
    const mark = el("input", { type: "range", class: "au-mark", min: 0, max: 1, step: 0.01, "aria-label": `Threshold of ${au}` });
    mark.addEventListener("input", () => this.thresholds.set(au, Number(mark.value)));
    const probability = el("span", { class: "num" });
    const score = el("span", { class: "num au-score" });
    const state = el("span", { class: "au-state" });
    const row = el("li", { class: "au", "data-au": au }, pick, el("div", { class: "au-track" }, fill, mark), probability, score, state);
    this.#rows.set(au, { row, pick, fill, mark, probability, score, state });
    return row;
  }

  #update() {
    if (!this.#face) return;
    for (const au of this.#face.aus) {
      const parts = this.#rows.get(au.au);
      if (!parts) continue;
      const seen = au.probability !== null && !Number.isNaN(au.probability);
      const active = this.thresholds.decide(au.au, au.probability, au.active);
      const threshold = this.thresholds.of(au.au);
      parts.row.classList.toggle("active", active);
      parts.fill.style.width = `${100 * (seen ? au.probability : 0)}%`;
      if (Number(parts.mark.value) !== threshold) parts.mark.value = String(threshold);
      parts.mark.title = `Threshold ${threshold.toFixed(2)}${this.thresholds.own(au.au) === null ? " (the checkpoint names none)" : ""}`;
      parts.probability.textContent = seen ? au.probability.toFixed(2) : "–";
      parts.score.textContent = this.#right(au, seen);
      parts.state.textContent = seen ? (active ? "●" : "○") : "–";
      parts.state.title = seen ? (active ? "occurred" : "absent") : "its regions lie outside the picture";
      parts.state.setAttribute("aria-label", parts.state.title);
      parts.state.setAttribute("role", "img");
      parts.pick.setAttribute("aria-pressed", String(this.view.au === au.au));
    }
  }

  /** The score, or the difference of the probability to the other checkpoint's. */
  #right(au, seen) {
    if (!seen) return "";
    if (!this.#other) return signed(au.score, 2);
    const other = this.#other.aus.find((entry) => entry.au === au.au);
    return other?.probability === null || other === undefined ? "new" : signed(au.probability - other.probability, 2);
  }

  #move(event) {
    if (!event.target.classList.contains("au-pick")) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const picks = [...this.list.querySelectorAll(".au-pick")];
    picks[(picks.indexOf(event.target) + step + picks.length) % picks.length].focus();
  }
}

/** The buttons that choose a face. */
export function faceTabs(view) {
  const element = el("div", { class: "face-tabs", role: "group", "aria-label": "Faces" });
  const update = (faces) => {
    const tracks = faces.map((face) => face.track);
    if (tracks.join() !== element.dataset.tracks) {
      element.dataset.tracks = tracks.join();
      element.replaceChildren(
        ...faces.map((face) => {
          const button = el("button", { type: "button", class: "face-tab", "data-track": face.track }, el("span", { class: "swatch" }), `Face ${face.track}`);
          button.querySelector(".swatch").style.background = faceColour(face.track);
          button.addEventListener("click", () => view.update({ face: face.track }));
          return button;
        }),
      );
    }
    for (const button of element.children) button.setAttribute("aria-pressed", String(Number(button.dataset.track) === view.face));
  };
  return { element, update };
}

function signed(value, digits) {
  const size = Math.abs(value).toFixed(digits);
  return `${value < 0 && Number(size) > 0 ? "−" : "+"}${size}`;
}
