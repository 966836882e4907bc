// AU events of a clip: onset, apex, offset, as the service reads them from the frames.
import { getJson } from "./api.js";
import { faceColour } from "./colours.js";
import { clock, el, labelled, settled } from "./dom.js";
import { complain } from "./notices.js";

/** Dispatches `change` when other events are known. */
export class EventTable extends EventTarget {
  #job = null;
  #signal = null;
  #events = [];

  constructor(thresholds, { onSeek }) {
    super();
    this.thresholds = thresholds;
    this.onSeek = onSeek;
    const number = (label, value, step) => {
      const input = el("input", { type: "number", min: 0, step, value, "aria-label": label });
      input.addEventListener("change", () => this.#ask());
      return input;
    };
    this.minMs = number("Shortest event in milliseconds", 80, 10);
    this.gapMs = number("Longest gap within an event in milliseconds", 120, 10);
    this.body = el("tbody", {});
    this.count = el("small", {});
    this.own = el("small", { hidden: true }, "Events follow the checkpoint's thresholds, or the one threshold set here.");
    this.on = el("input", { type: "number", min: 0, max: 1, step: 0.05, placeholder: "own", "aria-label": "Probability at which an event begins; empty: the checkpoint's thresholds" });
    this.on.addEventListener("change", () => this.#ask());
    this.element = el(
      "section",
      { class: "card events" },
      el("h2", {}, "Events ", this.count),
      el("div", { class: "toolbar" }, labelled("on at", this.on), labelled("min. ms", this.minMs), labelled("gap ms", this.gapMs)),
      el("div", { class: "table-scroll", tabIndex: 0, role: "region", "aria-label": "Events" }, el("table", {}, el("thead", {}, el("tr", {}, ...["Face", "AU", "Onset", "Apex", "Offset", "Length"].map((text) => el("th", { scope: "col" }, text)))), this.body)),
    );
    this.ask = settled(() => this.#ask(), 300);
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

  async #ask() {
    if (!this.#job) return;
    const query = new URLSearchParams({ min_ms: this.minMs.value, gap_ms: this.gapMs.value });
    if (this.on.value !== "") query.set("on", this.on.value);
    try {
      const answer = await getJson(`jobs/${this.#job}/au-events?${query}`, { signal: this.#signal });
      this.#show(answer.events);
    } catch (error) {
      if (error.status === 404) this.element.hidden = true;
      else complain(error);
    }
  }

  #show(events) {
    this.#events = events;
    this.count.textContent = events.length ? String(events.length) : "none";
    this.body.replaceChildren(
      ...events.slice(0, 500).map((event) => {
        const swatch = el("span", { class: "swatch" });
        swatch.style.background = faceColour(event.track);
        const jump = (ms) => {
          const button = el("button", { type: "button", class: "quiet num" }, clock(ms));
          button.addEventListener("click", () => this.onSeek(ms, event.track));
          return el("td", {}, button);
        };
        return el("tr", {}, el("td", {}, swatch, String(event.track)), el("td", {}, event.au), jump(event.onset_ms), jump(event.apex_ms), jump(event.offset_ms), el("td", { class: "num" }, `${Math.round(event.offset_ms - event.onset_ms)} ms`));
      }),
    );
    this.dispatchEvent(new Event("change"));
  }
}
