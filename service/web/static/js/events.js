// AU events of a clip: onset, apex, offset, as the service reads them from the frames.
import { getJson } from "./api.js";
import { faceColour } from "./colours.js";
import { clock, el, labelled, settled } from "./dom.js";
import { complain } from "./notices.js";

const SHOWN = 500;

/** Follows the thresholds that were moved. Dispatches `change` when other events are known. */
export class EventTable extends EventTarget {
  #job = null;
  #signal = null;
  #events = [];
  #asked = 0;

  constructor(thresholds, { onSeek }) {
    super();
    this.thresholds = thresholds;
    this.onSeek = onSeek;
    const number = (label, value, step, max) => {
      const input = el("input", { type: "number", min: 0, max, step, value, "aria-label": label });
      input.addEventListener("change", () => this.#ask());
      return input;
    };
    this.on = number("Probability at which an event begins; empty: each Action Unit's threshold", "", 0.05, 1);
    this.off = number("Probability down to which an event lasts; empty: 0.7 times the beginning", "", 0.05, 1);
    this.minMs = number("Shortest event in milliseconds", 100, 20, 10000);
    this.gapMs = number("Longest gap within an event in milliseconds", 100, 20, 10000);
    this.baseline = el("select", { "aria-label": "What the thresholds act on" }, el("option", { value: "none" }, "probability"), el("option", { value: "median" }, "rise above the face's median"));
    this.baseline.addEventListener("change", () => this.#ask());
    [this.on.placeholder, this.off.placeholder] = ["own", "auto"];
    this.body = el("tbody", {});
    this.count = el("small", {});
    this.element = el(
      "section",
      { class: "card events", "aria-label": "Events" },
      el("h2", {}, "Events ", this.count),
      el(
        "div",
        { class: "toolbar" },
        labelled("on", this.on),
        labelled("off", this.off),
        labelled("min. ms", this.minMs),
        labelled("gap ms", this.gapMs),
        labelled("of", this.baseline),
      ),
      el("div", { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": "Table of events" }, el("table", {}, el("thead", {}, el("tr", {}, ...["Face", "AU", "Onset", "Apex", "Offset", "Length", "Peak p"].map((text) => el("th", { scope: "col" }, text)))), this.body)),
      el("p", { class: "hint" }, "The apex is where the network is surest, not the strongest contraction."),
    );
    const later = settled(() => this.#ask(), 400);
    thresholds.addEventListener("change", later);
  }

  async load(job, signal) {
    this.#job = job;
    this.#signal = signal;
    await this.#ask();
  }

  clear() {
    this.#job = null;
    this.#show([]);
  }

  /** The events of one face. */
  of(track) {
    return this.#events.filter((event) => event.track === track);
  }

  /** The options of an export's events: those of the table. */
  query(extra = {}) {
    const query = { min_ms: this.minMs.value || 0, gap_ms: this.gapMs.value || 0, baseline: this.baseline.value, ...extra };
    if (this.on.value !== "") query.on = this.on.value;
    if (this.off.value !== "") query.off = this.off.value;
    return new URLSearchParams(query);
  }

  async #ask() {
    if (!this.#job) return;
    const mine = (this.#asked += 1);
    const read = async (extra) => (await getJson(`jobs/${this.#job}/au-events?${this.query(extra)}`, { signal: this.#signal })).events;
    try {
      let events = await read();
      // The service takes one threshold for all AUs: those that were moved here are asked for by their values.
      const moved = this.on.value === "" && this.baseline.value === "none" ? this.thresholds.movedByValue() : new Map();
      for (const [value, aus] of moved) {
        if (mine !== this.#asked) return;
        const again = (await read({ on: Math.max(0.01, value) })).filter((event) => aus.includes(event.au));
        events = [...events.filter((event) => !aus.includes(event.au)), ...again];
      }
      if (mine === this.#asked) this.#show(events);
    } catch (error) {
      if (mine === this.#asked) complain(error);
    }
  }

  #show(events) {
    this.#events = events.toSorted((a, b) => a.track - b.track || a.onset_ms - b.onset_ms);
    this.count.textContent = events.length > SHOWN ? `${events.length}, the first ${SHOWN} are listed` : String(events.length || "none");
    this.body.replaceChildren(...this.#events.slice(0, SHOWN).map((event) => this.#row(event)));
    this.dispatchEvent(new Event("change"));
  }

  #row(event) {
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = faceColour(event.track);
    const jump = (name, ms) => {
      const button = el("button", { type: "button", class: "quiet num", "aria-label": `Go to the ${name} of ${event.au} at ${clock(ms)}` }, clock(ms));
      button.addEventListener("click", () => this.onSeek(ms, event.track));
      return el("td", {}, button);
    };
    return el(
      "tr",
      { "data-au": event.au },
      el("td", {}, swatch, String(event.track)),
      el("td", {}, event.au),
      jump("onset", event.onset_ms),
      jump("apex", event.apex_ms),
      jump("offset", event.offset_ms),
      el("td", { class: "num" }, `${Math.round(event.offset_ms - event.onset_ms)} ms`),
      el("td", { class: "num" }, event.peak_probability.toFixed(2)),
    );
  }
}
