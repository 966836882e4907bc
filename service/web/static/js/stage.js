// A picture with what was found in it: ROI maps, boxes with numbers, centres of regions.
import { faceColour, fullColourValue, signedPixels } from "./colours.js";
import { el, everyFrame } from "./dom.js";

/** Draws over `source` (a picture that it paints itself) or over a video that lies beneath it. */
export class Stage {
  #source = null;
  #size = { width: 0, height: 0 };
  #faces = [];
  #tiles = new WeakMap();

  /**
   * @param view which map, opacity, boxes; drawn anew when it changes.
   * @param thresholds decide which AUs are active.
   * @param beneath an element of the same size (a video), or null: then the picture is drawn here.
   */
  constructor(view, thresholds, beneath = null) {
    this.view = view;
    this.thresholds = thresholds;
    this.canvas = el("canvas", { class: "stage-canvas", role: "img", "aria-label": "No picture yet" });
    this.figure = el("figure", { class: "stage" }, beneath, this.canvas);
    this.beneath = beneath;
    this.draw = everyFrame(() => this.drawNow());
    view.addEventListener("change", this.draw);
    thresholds.addEventListener("change", this.draw);
    new ResizeObserver(this.draw).observe(this.canvas);
    this.canvas.addEventListener("click", (event) => this.#pick(event));
  }

  /** The picture, of this size in pixels. */
  show(source, width, height) {
    this.#source = source;
    this.#size = { width, height };
    this.figure.style.aspectRatio = `${width} / ${height}`;
    this.figure.style.setProperty("--aspect", String(width / height));
    this.draw();
  }

  /** What was found in it. */
  setFaces(faces, now = false) {
    this.#faces = faces;
    const label = `${faces.length || "No"} ${faces.length === 1 ? "face" : "faces"}`;
    if (this.canvas.getAttribute("aria-label") !== label) this.canvas.setAttribute("aria-label", label);
    if (now) this.drawNow();
    else this.draw();
  }

  get faces() {
    return this.#faces;
  }

  get size() {
    return this.#size;
  }

  drawNow() {
    const { width, height } = this.#size;
    const shown = this.canvas.getBoundingClientRect();
    if (!width || !shown.width) return;
    const ratio = Math.min(devicePixelRatio || 1, 3);
    const pixels = { width: Math.round(shown.width * ratio), height: Math.round(shown.height * ratio) };
    if (this.canvas.width !== pixels.width || this.canvas.height !== pixels.height) Object.assign(this.canvas, pixels);
    const pen = this.canvas.getContext("2d");
    const zoom = pixels.width / width;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, pixels.width, pixels.height);
    if (this.#source && !this.beneath) pen.drawImage(this.#source, 0, 0, pixels.width, pixels.height);
    pen.imageSmoothingEnabled = true;
    for (const face of this.#faces) this.#drawMaps(pen, face, zoom);
    if (this.view.boxes) for (const face of this.#faces) this.#drawBox(pen, face, zoom, ratio);
    if (this.view.points) for (const face of this.#faces) this.#drawRegions(pen, face, zoom, ratio);
  }

  #shownAus(face) {
    if (this.view.au === "") return [];
    if (this.view.au !== null) return [this.view.au];
    return face.aus.filter((au) => this.thresholds.decide(au.au, au.probability, au.active)).map((au) => au.au);
  }

  #drawMaps(pen, face, zoom) {
    if (!face.maps || this.view.opacity === 0) return;
    const aus = this.#shownAus(face).filter((au) => face.maps.has(au));
    if (!aus.length) return;
    const tile = this.#tile(face, aus);
    const [[a, c, e], [b, d, f]] = tile.toImage;
    pen.save();
    pen.globalAlpha = this.view.opacity;
    pen.scale(zoom, zoom);
    pen.translate(0.5, 0.5); // the service's pixel centres are whole numbers, a canvas's are halves
    pen.transform(a, b, c, d, e, f);
    pen.drawImage(tile.canvas, -0.5, -0.5);
    pen.restore();
  }

  /** The coloured map, kept while the same maps are shown. */
  #tile(face, aus) {
    const name = aus.join(" ");
    const kept = this.#tiles.get(face.maps);
    if (kept?.name === name) return kept;
    const maps = aus.map((au) => face.maps.get(au));
    const { width, height, toImage } = maps[0];
    const values = maps.map((map) => map.values);
    const canvas = new OffscreenCanvas(width, height);
    canvas.getContext("2d").putImageData(signedPixels(values, width, height, fullColourValue(values)), 0, 0);
    const tile = { name, canvas, toImage };
    this.#tiles.set(face.maps, tile);
    return tile;
  }

  #drawBox(pen, face, zoom, ratio) {
    const { x, y, width, height } = face.box;
    const chosen = face.track === this.view.face;
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.strokeStyle = "rgb(255 255 255 / .85)";
    pen.lineWidth = (chosen ? 5 : 3.5) * ratio;
    pen.strokeRect(x * zoom, y * zoom, width * zoom, height * zoom);
    pen.strokeStyle = faceColour(face.track);
    pen.lineWidth = (chosen ? 3 : 1.5) * ratio;
    pen.strokeRect(x * zoom, y * zoom, width * zoom, height * zoom);
    const text = String(face.track);
    pen.font = `600 ${13 * ratio}px system-ui, sans-serif`;
    const tag = { width: pen.measureText(text).width + 10 * ratio, height: 18 * ratio };
    const top = Math.max(0, y * zoom - tag.height);
    pen.fillStyle = faceColour(face.track);
    pen.fillRect(x * zoom, top, tag.width, tag.height);
    pen.fillStyle = "#fff";
    pen.textBaseline = "middle";
    pen.fillText(text, x * zoom + 5 * ratio, top + tag.height / 2 + ratio);
  }

  #drawRegions(pen, face, zoom, ratio) {
    for (const au of face.aus) {
      if (!au.roi || (this.view.au && this.view.au !== au.au)) continue;
      const active = this.thresholds.decide(au.au, au.probability, au.active);
      for (const [x, y] of au.roi) {
        pen.beginPath();
        pen.arc((x + 0.5) * zoom, (y + 0.5) * zoom, 3.5 * ratio, 0, 2 * Math.PI);
        pen.fillStyle = active ? "rgb(214 39 40)" : "rgb(31 100 200)";
        pen.fill();
        pen.strokeStyle = "#fff";
        pen.lineWidth = ratio;
        pen.stroke();
      }
    }
  }

  #pick(event) {
    const shown = this.canvas.getBoundingClientRect();
    const x = ((event.clientX - shown.left) / shown.width) * this.#size.width;
    const y = ((event.clientY - shown.top) / shown.height) * this.#size.height;
    const hit = this.#faces.findLast(({ box }) => x >= box.x && x <= box.x + box.width && y >= box.y && y <= box.y + box.height);
    if (hit) this.view.update({ face: hit.track });
  }
}
