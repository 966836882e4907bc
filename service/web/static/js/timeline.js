// What is stored of a clip: times, boxes and AU values of every frame, in columns; and its ROI maps, as they are needed.
import { getJson } from "./api.js";
import { mapsOf } from "./faces.js";

const PAGE = 2000;
const CHUNK = 16; // frames whose maps are fetched at once
const KEPT_CHUNKS = 40;

/** The columns of `/jobs/…/timeline`. A position is an index into `pts`; frames of a job have no gaps. */
export class Timeline {
  constructor(job) {
    this.job = job;
    this.aus = [];
    this.names = [];
    this.checkpoint = null;
    this.thresholds = {}; // by AU, of the reading that decided
    this.frame = [];
    this.pts = [];
    this.rows = { frame: [], face: [], track: [], box: [], score: [], probability: [], active: [] };
    this.firstRow = [0]; // of each position, and one past the last
    this.tracks = new Map(); // track -> its rows' numbers
    this.ownRest = new Set(); // tracks whose brows and lids were held against their own rest
  }

  /** Reads what is stored beyond what is known; `onPage` after each page. */
  async load(onPage, signal) {
    for (;;) {
      const after = this.frame.length ? `&after=${this.frame.at(-1)}` : "";
      const page = await getJson(`jobs/${this.job}/timeline?limit=${PAGE}${after}`, { signal });
      this.#append(page);
      onPage?.(page);
      if (!page.next) return;
    }
  }

  /** Reads all of it anew: the end of a job changes what was decided before. */
  async reload(signal) {
    const fresh = new Timeline(this.job);
    await fresh.load(null, signal);
    Object.assign(this, fresh);
  }

  #append(page) {
    this.checkpoint = page.checkpoint;
    this.thresholds = page.thresholds;
    this.ownRest = new Set(page.own_rest);
    if (page.aus.length) [this.aus, this.names] = [page.aus, page.names];
    const base = this.rows.frame.length;
    for (const name of Object.keys(this.rows)) for (const value of page.faces[name]) this.rows[name].push(value);
    page.faces.track.forEach((track, k) => {
      if (!this.tracks.has(track)) this.tracks.set(track, []);
      this.tracks.get(track).push(base + k);
    });
    let row = base;
    page.frame.forEach((frame, k) => {
      this.frame.push(frame);
      this.pts.push(page.pts_ms[k]);
      while (row < this.rows.frame.length && this.rows.frame[row] <= frame) row += 1;
      this.firstRow.push(row);
    });
  }

  get length() {
    return this.pts.length;
  }

  /** Milliseconds from one frame to the next, as it mostly is. */
  get step() {
    if (this.length < 2) return 40;
    const gaps = [];
    for (let i = 1; i < Math.min(this.length, 200); i += 1) gaps.push(this.pts[i] - this.pts[i - 1]);
    return gaps.sort((a, b) => a - b)[gaps.length >> 1] || 40;
  }

  get end() {
    return this.length ? this.pts.at(-1) + this.step : 0;
  }

  /** The position whose time is nearest; -1 beyond what is stored. */
  at(ms) {
    if (!this.length || ms > this.end) return -1;
    let low = 0;
    let high = this.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.pts[middle] < ms) low = middle + 1;
      else high = middle;
    }
    return low > 0 && ms - this.pts[low - 1] <= this.pts[low] - ms ? low - 1 : low;
  }

  /** The faces at a position, without maps. */
  faces(position) {
    const faces = [];
    if (position < 0) return faces;
    for (let row = this.firstRow[position]; row < this.firstRow[position + 1]; row += 1) faces.push(this.#face(row));
    return faces;
  }

  #face(row) {
    const [x, y, width, height] = this.rows.box[row];
    const bits = this.rows.active[row];
    return {
      face: this.rows.face[row],
      track: this.rows.track[row],
      box: { x, y, width, height },
      maps: null,
      aus: this.aus.map((au, k) => ({
        au,
        name: this.names[k],
        score: this.rows.score[row][k],
        probability: this.rows.probability[row][k],
        active: Math.floor(bits / 2 ** k) % 2 === 1,
      })),
    };
  }
}

/** The ROI maps of a job's frames, fetched in chunks and kept while they are near. */
export class MapCache {
  #chunks = new Map();
  #gone = false;

  constructor(job, onArrival) {
    this.job = job;
    this.onArrival = onArrival;
  }

  /** The maps of a face in a frame by AU; what is missing is fetched, and `onArrival` called. */
  get(frame, face, aus) {
    this.want(frame, aus);
    return this.#chunks.get(Math.floor(frame / CHUNK))?.faces.get(`${frame}/${face}`) ?? null;
  }

  /** Sees to it that the maps of a frame's chunk are there or on their way. */
  want(frame, aus) {
    if (this.#gone || frame < 0 || !aus.length) return;
    const number = Math.floor(frame / CHUNK);
    if (!this.#chunks.has(number)) {
      this.#chunks.set(number, { asked: new Set(), faces: new Map() });
      if (this.#chunks.size > KEPT_CHUNKS) this.#chunks.delete(this.#chunks.keys().next().value);
    }
    const chunk = this.#chunks.get(number);
    const missing = aus.filter((au) => !chunk.asked.has(au));
    if (missing.length) this.#fetch(number, chunk, missing);
  }

  async #fetch(number, chunk, aus) {
    for (const au of aus) chunk.asked.add(au);
    const query = new URLSearchParams([["first", String(number * CHUNK)], ["count", String(CHUNK)], ...aus.map((au) => ["au", au])]);
    try {
      for (const { frame, face, maps } of mapsOf(await getJson(`jobs/${this.job}/roi-maps?${query}`))) {
        const name = `${frame}/${face}`;
        const known = chunk.faces.get(name) ?? new Map();
        for (const [au, map] of maps) known.set(au, map);
        chunk.faces.set(name, known);
      }
    } catch (error) {
      if (error.status === 404) this.#gone = true; // the job keeps no maps
      for (const au of aus) chunk.asked.delete(au);
      return;
    }
    this.onArrival();
  }

  /** Frames that were not stored when they were asked for are asked for again. */
  forget() {
    this.#chunks.clear();
  }
}
