// A clip's player. Each picture is painted together with what was found in that very frame, so that neither can run
// ahead of the other: the browser says which presentation time it shows, and the stored times say which frame that is.
import { request, url } from "./api.js";
import { clock, el } from "./dom.js";

const RATES = [0.1, 0.25, 0.5, 1, 2];

/** Dispatches `frame` with the position whenever another frame is shown. */
export class Player extends EventTarget {
  #timeline = null;
  #offset = 0; // of the browser's time axis to the stored times, milliseconds
  #first = null; // the browser's time of the first picture it presented, which is frame 0; no seek goes before it
  #calibrated = false;
  #still = false;
  #copy = null;
  #size = { width: 0, height: 0 };
  #asked = 0;
  #sought = null; // the position asked for last, whose picture may not have come yet; null once it has played on

  constructor(stage) {
    super();
    this.stage = stage;
    this.position = -1;
    this.video = el("video", { class: "source", playsInline: true, preload: "auto", tabIndex: -1, "aria-hidden": "true" });
    this.stage.figure.append(this.video);
    this.play = el("button", { type: "button", class: "primary", "aria-label": "Play" }, "▶");
    this.back = el("button", { type: "button", "aria-label": "One frame back" }, "◂|");
    this.on = el("button", { type: "button", "aria-label": "One frame on" }, "|▸");
    this.rate = el("select", { "aria-label": "Speed" }, RATES.map((rate) => el("option", { value: rate, selected: rate === 1 }, `${rate}×`)));
    this.time = el("output", { class: "num time" }, "");
    this.message = el("span", { class: "hint" });
    this.controls = el("div", { class: "toolbar transport", role: "group", "aria-label": "Player" }, this.back, this.play, this.on, this.rate, this.time, this.message);
    this.play.addEventListener("click", () => this.toggle());
    this.back.addEventListener("click", () => this.step(-1));
    this.on.addEventListener("click", () => this.step(1));
    this.rate.addEventListener("change", () => {
      this.video.playbackRate = Number(this.rate.value);
    });
    for (const name of ["play", "pause", "ended"]) this.video.addEventListener(name, () => this.#showState());
    this.video.addEventListener("play", () => {
      this.#sought = null;
    });
    this.video.addEventListener("error", () => this.#useStills());
    this.video.addEventListener("loadedmetadata", () => {
      if (!this.video.videoWidth) this.#useStills();
    });
    this.#listen();
  }

  /** @param size of the upright picture in pixels, as the job says. */
  open(timeline, link, size) {
    this.close();
    this.#timeline = timeline;
    this.#size = size;
    this.#still = false;
    this.#offset = 0;
    this.#first = null;
    this.#calibrated = false;
    this.message.textContent = "";
    this.video.src = url(link);
    this.video.playbackRate = Number(this.rate.value);
    this.#showState();
  }

  get opened() {
    return this.video.hasAttribute("src");
  }

  close() {
    this.video.removeAttribute("src");
    this.video.load();
    this.position = -1;
    this.#sought = null;
    this.#copy = null;
  }

  toggle() {
    if (this.#still) return;
    if (this.video.paused) this.video.play();
    else this.video.pause();
  }

  /** Shows the frame so many positions away, paused; steps pressed before the picture of the last has come add up. */
  step(count) {
    this.video.pause();
    this.seek((this.#sought ?? Math.max(0, this.position)) + count);
  }

  /** Shows the frame at a position. */
  seek(position) {
    const { pts, length } = this.#timeline;
    if (!length) return;
    const wanted = Math.min(Math.max(0, position), length - 1);
    this.#sought = wanted;
    if (this.#still) {
      this.#showStill(wanted);
      return;
    }
    if (this.#first === null) return; // done when it has come
    // A little inside the frame: seeking to its very first moment may round to the frame before.
    const room = wanted + 1 < length ? pts[wanted + 1] - pts[wanted] : this.#timeline.step;
    this.video.currentTime = Math.max(0, (pts[wanted] + this.#offset + Math.min(0.4 * room, 8)) / 1000);
  }

  /** Shows the frame at a time in milliseconds. */
  seekTime(ms) {
    this.seek(Math.max(0, this.#timeline.at(Math.min(ms, this.#timeline.end))));
  }

  #listen() {
    if ("requestVideoFrameCallback" in HTMLVideoElement.prototype) {
      const presented = (_now, { mediaTime }) => {
        this.#present(1000 * mediaTime);
        this.video.requestVideoFrameCallback(presented);
      };
      this.video.requestVideoFrameCallback(presented);
      return;
    }
    const look = () => {
      if (this.video.readyState >= 2 && !this.#still) this.#present(1000 * this.video.currentTime);
      requestAnimationFrame(look);
    };
    look();
  }

  #present(mediaMs) {
    if (!this.#timeline || this.#still || !this.video.videoWidth) return;
    const waiting = this.#first === null ? this.#sought : null;
    this.#first ??= mediaMs;
    if (!this.#calibrated && this.#timeline.length) {
      // The first picture of the clip is frame 0, wherever the container's time axis begins.
      this.#offset = this.#first - this.#timeline.pts[0];
      this.#calibrated = true;
    }
    if (waiting !== null) this.seek(waiting);
    this.#paint(this.video, this.#timeline.at(mediaMs - this.#offset));
  }

  /** Keeps the picture that belongs to the position, so that redrawing never mixes two frames. */
  #paint(source, position) {
    const { width, height } = this.#size;
    this.#copy ??= new OffscreenCanvas(width, height);
    this.#copy.getContext("2d").drawImage(source, 0, 0, width, height);
    this.stage.show(this.#copy, width, height);
    this.position = position;
    const { pts, frame } = this.#timeline;
    this.time.textContent = position < 0 ? "not analysed yet" : `${clock(pts[position])}  frame ${frame[position]}`;
    this.dispatchEvent(new CustomEvent("frame", { detail: position }));
  }

  async #useStills() {
    if (!this.video.getAttribute("src") || this.#still) return;
    this.#still = true;
    this.message.textContent = "This browser cannot play the clip; it is shown frame by frame.";
    this.#showState();
    if (this.#timeline.length) await this.#showStill(0);
  }

  async #showStill(position) {
    const mine = (this.#asked += 1);
    const response = await request(`jobs/${this.#timeline.job}/frames/${this.#timeline.frame[position]}/picture`);
    const picture = await createImageBitmap(await response.blob());
    if (mine === this.#asked) this.#paint(picture, position);
  }

  #showState() {
    const playing = !this.video.paused && !this.video.ended;
    this.play.disabled = this.#still;
    this.play.textContent = playing ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", playing ? "Pause" : "Play");
  }
}
