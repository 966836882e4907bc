// A look inside the network for the chosen face: features before and after the graph convolution, eigenvector maps.
import { download, request } from "./api.js";
import { el, labelled } from "./dom.js";
import { addPanel } from "./panels.js";

/** What one face is asked under; the AU comes apart. */
function pathOf(selection) {
  return `jobs/${selection.job}/frames/${selection.frame}/faces/${selection.face}/explain`;
}

class Explanation {
  au = null; // null: the likeliest
  shown = null; // path of the face in the picture
  asking = new AbortController();
  address = null;

  constructor(place) {
    this.select = el("select", { "aria-label": "Action Unit to look at", onchange: () => this.choose(this.select.value) });
    this.look = el("button", { type: "button", class: "primary", onclick: () => this.load() }, "Look inside");
    this.arrays = el("button", { type: "button", hidden: true, onclick: () => this.save() }, "Arrays (.npz)");
    this.status = el("span", { class: "hint", role: "status" });
    this.picture = el("img", { class: "explain-picture", alt: "" });
    this.large = el("a", { target: "_blank", rel: "noopener", "aria-label": "Open the picture in full size" }, this.picture);
    this.figure = el("div", { class: "explain-figure", hidden: true, tabIndex: 0, role: "group", "aria-label": "Picture of the explanation" }, this.large);
    place.append(
      el("div", { class: "toolbar" }, labelled("Action Unit", this.select), this.look, this.arrays, this.status),
      el("p", { class: "hint explain-hint" }, "Top: where the graph convolution takes its context from. Middle: the feature channels that shape the AU's map most, before and after it. Bottom: eigenvector maps and ROI maps of every AU. These are inner values of the network: they do not say why an AU was decided, and are no measure of what the face does."),
      this.figure,
    );
  }

  follow(selection) {
    const other = !this.selection || pathOf(selection) !== pathOf(this.selection) || selection.job !== this.selection.job;
    const moved = this.selection?.au !== selection.au;
    this.selection = selection;
    this.fill();
    this.look.hidden = !selection.job;
    if (!selection.job) {
      this.forget();
      this.status.textContent = "Only pictures that are kept can be looked into: tick “keep as a job”.";
      return;
    }
    if (moved && selection.au && selection.aus.some((entry) => entry.au === selection.au)) this.au = selection.au;
    this.fill();
    if (other) this.forget();
    // A photo is looked into at once; a playing clip would ask for every frame.
    if (selection.picture ? other || moved : moved && this.shown === pathOf(selection)) this.load();
    else if (other) this.say();
  }

  fill() {
    const codes = this.selection.aus.map((entry) => entry.au);
    if (this.au && !codes.includes(this.au)) this.au = null;
    const wanted = ["", ...codes].join();
    if (this.select.dataset.codes !== wanted) {
      this.select.replaceChildren(el("option", { value: "" }, "the likeliest"), ...codes.map((code) => el("option", { value: code }, code)));
      this.select.dataset.codes = wanted;
    }
    this.select.value = this.au ?? "";
  }

  choose(au) {
    this.au = au || null;
    if (this.selection.job) this.load();
  }

  forget() {
    this.asking.abort();
    this.figure.hidden = true;
    this.arrays.hidden = true;
    this.shown = null;
  }

  say() {
    this.status.textContent = `Face ${this.selection.track}, frame ${this.selection.frame}.`;
  }

  async load() {
    this.asking.abort();
    const mine = (this.asking = new AbortController());
    const { selection } = this;
    const path = pathOf(selection);
    this.status.textContent = "Looking inside; the first time takes a few seconds …";
    this.figure.setAttribute("aria-busy", "true");
    try {
      const response = await request(this.au ? `${path}?au=${this.au}` : path, { signal: mine.signal });
      const blob = await response.blob();
      if (mine.signal.aborted) return;
      if (this.address) URL.revokeObjectURL(this.address);
      this.address = URL.createObjectURL(blob);
      this.picture.src = this.address;
      this.picture.alt = `How the network reads ${this.au ?? "the likeliest Action Unit"} of face ${selection.track}: crop, context of both regions, feature channels before and after the graph convolution, eigenvector maps and ROI maps of all Action Units.`;
      this.large.href = this.address;
      this.shown = path;
      this.figure.hidden = false;
      this.arrays.hidden = false;
      this.say();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.forget();
      this.status.textContent = error.message;
    } finally {
      if (this.asking === mine) this.figure.removeAttribute("aria-busy");
    }
  }

  async save() {
    try {
      await download(`${this.shown}?format=npz`, `face${this.selection.face}_frame${this.selection.frame}.npz`);
    } catch (error) {
      this.status.textContent = error.message;
    }
  }
}

const explanations = new WeakMap();

addPanel({
  id: "explain",
  title: "Inside the network",
  show(place, selection) {
    if (!explanations.has(place)) explanations.set(place, new Explanation(place));
    explanations.get(place).follow(selection);
  },
});
