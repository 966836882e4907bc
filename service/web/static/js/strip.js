// One face through the clip: a row of colours for each AU over time, the curve of one AU, its events, the place shown.
import { NEGATIVE, POSITIVE, faceColour } from "./colours.js";
import { clock, el, everyFrame } from "./dom.js";
import { colour } from "./theme.js";

const ROW = 15;
const GUTTER = 46;
const CURVE = 64;

/** Seeks with clicks and keys; dispatches `seek` with milliseconds and `move` with a number of frames. */
export class Strip extends EventTarget {
  #ms = 0;
  #events = [];

  constructor(track, timeline, view, thresholds) {
    super();
    Object.assign(this, { track, timeline, view, thresholds });
    this.canvas = el("canvas", { class: "strip-canvas" });
    this.head = el("div", { class: "strip-playhead", "aria-hidden": "true" });
    this.slider = el("div", {
      class: "strip-area", role: "slider", tabIndex: 0, "aria-label": `Action Units of face ${track} over time`,
      "aria-valuemin": "0", "aria-orientation": "horizontal",
    }, this.canvas, this.head);
    const swatch = el("span", { class: "swatch" });
    swatch.style.background = faceColour(track);
    this.title = el("h3", {}, swatch, `Face ${track}`, el("small", { class: "strip-note" }));
    this.element = el("section", { class: "strip card", "data-track": track }, this.title, this.slider);
    this.redraw = everyFrame(() => this.#draw());
    new ResizeObserver(this.redraw).observe(this.slider);
    this.slider.addEventListener("pointerdown", (event) => this.#press(event));
    this.slider.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Events as `/jobs/…/au-events` gives them, those of this face. */
  setEvents(events) {
    this.#events = events;
    this.redraw();
  }

  /** The time that is shown. */
  setTime(ms) {
    this.#ms = ms;
    const width = this.slider.clientWidth - GUTTER;
    this.head.style.transform = `translateX(${GUTTER + (width * ms) / Math.max(1, this.timeline.end)}px)`;
    this.slider.setAttribute("aria-valuemax", String(Math.round(this.timeline.end)));
    this.slider.setAttribute("aria-valuenow", String(Math.round(ms)));
    this.slider.setAttribute("aria-valuetext", clock(ms));
  }

  /** The AU whose curve is drawn: the chosen one, else the one that is most often active. */
  get curveAu() {
    if (this.view.au) return this.view.au;
    const { timeline } = this;
    const rows = timeline.tracks.get(this.track) ?? [];
    let best = [0, timeline.aus[0]];
    timeline.aus.forEach((au, k) => {
      let count = 0;
      for (const row of rows) if (this.#active(au, k, row)) count += 1;
      if (count > best[0]) best = [count, au];
    });
    return best[1];
  }

  #active(au, k, row) {
    const { rows } = this.timeline;
    return this.thresholds.decide(au, rows.probability[row][k], Math.floor(rows.active[row] / 2 ** k) % 2 === 1);
  }

  #press(event) {
    const seek = ({ clientX }) => {
      const box = this.slider.getBoundingClientRect();
      const share = (clientX - box.left - GUTTER) / (box.width - GUTTER);
      this.dispatchEvent(new CustomEvent("seek", { detail: Math.min(1, Math.max(0, share)) * this.timeline.end }));
    };
    const box = this.slider.getBoundingClientRect();
    const row = Math.floor((event.clientY - box.top - CURVE) / ROW);
    if (event.clientX - box.left < GUTTER) {
      const au = this.timeline.aus[row];
      if (au) this.view.update({ au: this.view.au === au ? null : au });
      return;
    }
    this.slider.setPointerCapture(event.pointerId);
    this.slider.addEventListener("pointermove", seek);
    this.slider.addEventListener("pointerup", () => this.slider.removeEventListener("pointermove", seek), { once: true });
    seek(event);
  }

  #key(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1, PageUp: 25, PageDown: -25 }[event.key];
    const { aus } = this.timeline;
    if (step) this.dispatchEvent(new CustomEvent("move", { detail: step * (event.shiftKey ? 10 : 1) }));
    else if (event.key === "Home") this.dispatchEvent(new CustomEvent("seek", { detail: 0 }));
    else if (event.key === "End") this.dispatchEvent(new CustomEvent("seek", { detail: this.timeline.pts.at(-1) }));
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const next = aus.indexOf(this.view.au ?? "") + (event.key === "ArrowDown" ? 1 : -1);
      this.view.update({ au: aus[(next + aus.length) % aus.length] });
    } else if (event.key === "Escape") this.view.update({ au: null });
    else return;
    event.preventDefault();
  }

  #draw() {
    const { timeline } = this;
    const width = this.slider.clientWidth;
    const height = CURVE + ROW * timeline.aus.length + 16;
    if (!width || !timeline.length) return;
    const ratio = Math.min(devicePixelRatio || 1, 3);
    this.slider.style.height = `${height}px`;
    Object.assign(this.canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const wide = width - GUTTER;
    const x = (ms) => GUTTER + (wide * ms) / timeline.end;
    const rows = timeline.tracks.get(this.track) ?? [];
    const rest = timeline.ownRest.has(this.track) ? ", brows and lids against own rest" : "";
    this.title.querySelector(".strip-note").textContent = ` ${rows.length} of ${timeline.length} frames${rest}`;
    this.#drawRows(pen, rows, wide, ratio);
    this.#drawCurve(pen, rows, x);
    this.#drawLabels(pen);
    this.#drawEvents(pen, x);
    this.#drawAxis(pen, x, height);
    this.setTime(this.#ms);
  }

  /** Each column holds the highest probability of the frames that fall on it, coloured by its side of the threshold. */
  #drawRows(pen, rows, wide, ratio) {
    const { timeline } = this;
    const columns = Math.max(1, Math.round(wide * ratio));
    const lines = timeline.aus.length;
    const highest = new Float32Array(columns * lines).fill(-1);
    const on = new Uint8Array(columns * lines);
    for (const row of rows) {
      const position = timeline.at(timeline.pts[this.#position(row)]);
      const from = timeline.pts[position];
      const to = position + 1 < timeline.length ? timeline.pts[position + 1] : timeline.end;
      const first = Math.min(columns - 1, Math.floor((columns * from) / timeline.end));
      const last = Math.min(columns, Math.max(first + 1, Math.floor((columns * to) / timeline.end)));
      timeline.aus.forEach((au, k) => {
        const probability = timeline.rows.probability[row][k];
        if (probability === null) return;
        const active = this.#active(au, k, row) ? 1 : 0;
        for (let column = first; column < last; column += 1) {
          const place = k * columns + column;
          if (probability > highest[place]) highest[place] = probability;
          on[place] |= active;
        }
      });
    }
    const image = new ImageData(columns, lines);
    timeline.aus.forEach((au, k) => {
      const threshold = Math.min(0.999, Math.max(0.001, this.thresholds.of(au)));
      for (let column = 0; column < columns; column += 1) {
        const value = highest[k * columns + column];
        if (value < 0) continue;
        const active = on[k * columns + column];
        const [red, green, blue] = active ? POSITIVE : NEGATIVE;
        const strength = active ? 0.35 + 0.65 * Math.max(0, (value - threshold) / (1 - threshold)) : 0.04 + 0.26 * Math.max(0, (threshold - value) / threshold);
        image.data.set([red, green, blue, Math.round(255 * Math.min(1, strength))], 4 * (k * columns + column));
      }
    });
    const tile = new OffscreenCanvas(columns, lines);
    tile.getContext("2d").putImageData(image, 0, 0);
    pen.imageSmoothingEnabled = false;
    for (let k = 0; k < lines; k += 1) pen.drawImage(tile, 0, k, columns, 1, GUTTER, CURVE + k * ROW + 1, wide, ROW - 2);
  }

  #position(row) {
    return this.timeline.rows.frame[row] - this.timeline.frame[0];
  }

  #drawCurve(pen, rows, x) {
    const { timeline } = this;
    const au = this.curveAu;
    const k = timeline.aus.indexOf(au);
    const y = (p) => CURVE - 8 - p * (CURVE - 14);
    pen.fillStyle = colour("sunken");
    pen.fillRect(GUTTER, y(1), x(timeline.end) - GUTTER, y(0) - y(1));
    const threshold = this.thresholds.of(au);
    pen.strokeStyle = colour("soft");
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(GUTTER, y(threshold));
    pen.lineTo(x(timeline.end), y(threshold));
    pen.stroke();
    pen.setLineDash([]);
    pen.strokeStyle = colour("ink");
    pen.lineWidth = 1.4;
    pen.beginPath();
    let before = -2;
    for (const row of rows) {
      const probability = timeline.rows.probability[row][k];
      const position = this.#position(row);
      if (probability === null) continue;
      const ms = timeline.pts[position];
      if (position === before + 1) pen.lineTo(x(ms), y(probability));
      else pen.moveTo(x(ms), y(probability));
      before = position;
    }
    pen.stroke();
    pen.fillStyle = colour("ink");
    pen.font = "600 11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.fillText(au, 4, (y(0) + y(1)) / 2);
  }

  #drawLabels(pen) {
    pen.textBaseline = "middle";
    this.timeline.aus.forEach((au, k) => {
      const chosen = this.view.au === au;
      pen.font = `${chosen ? "700" : "400"} 11px system-ui, sans-serif`;
      pen.fillStyle = chosen ? colour("ink") : colour("soft");
      pen.fillText(au, 4, CURVE + k * ROW + ROW / 2);
      if (chosen) {
        pen.strokeStyle = colour("accent");
        pen.lineWidth = 1;
        pen.strokeRect(GUTTER - 0.5, CURVE + k * ROW + 0.5, this.slider.clientWidth - GUTTER, ROW - 1);
      }
    });
  }

  /** An event is a bar from onset to offset under its row, with a notch at the apex. */
  #drawEvents(pen, x) {
    pen.fillStyle = colour("ink");
    for (const event of this.#events) {
      const k = this.timeline.aus.indexOf(event.au);
      if (k < 0) continue;
      const base = CURVE + (k + 1) * ROW - 3;
      pen.fillRect(x(event.onset_ms), base, Math.max(1.5, x(event.offset_ms) - x(event.onset_ms)), 2);
      pen.beginPath();
      pen.moveTo(x(event.apex_ms) - 3, base);
      pen.lineTo(x(event.apex_ms) + 3, base);
      pen.lineTo(x(event.apex_ms), base - 5);
      pen.fill();
    }
  }

  #drawAxis(pen, x, height) {
    const { end } = this.timeline;
    const wanted = end / Math.max(2, (this.slider.clientWidth - GUTTER) / 90);
    const step = [40, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000, 600000, 1800000].find((value) => value >= wanted) ?? 3600000;
    pen.fillStyle = colour("soft");
    pen.font = "10px system-ui, sans-serif";
    pen.textBaseline = "alphabetic";
    for (let ms = 0; ms <= end; ms += step) {
      pen.fillRect(x(ms), height - 15, 1, 4);
      const text = step < 1000 ? clock(ms).slice(0, -1) : clock(ms).slice(0, -4);
      pen.fillText(text, Math.min(x(ms) + 2, x(end) - pen.measureText(text).width), height - 3);
    }
  }
}
