// Clips: sent, listed, played with what was found in them, read off over time.
import { getJson, sendFile } from "./api.js";
import { AuBars, faceTabs } from "./bars.js";
import { checkpointSelect, refOf } from "./checkpoints.js";
import { el, labelled, settled } from "./dom.js";
import { EventTable } from "./events.js";
import { exportButtons } from "./exports.js";
import { JobList } from "./jobs.js";
import { neutral, neutralChip } from "./neutral.js";
import { complain, trying } from "./notices.js";
import { select } from "./panels.js";
import { Player } from "./player.js";
import { Stage } from "./stage.js";
import { Strip } from "./strip.js";
import { Thresholds } from "./thresholds.js";
import { MapCache, Timeline } from "./timeline.js";
import { View, viewControls } from "./view.js";

const isFinal = (job) => ["succeeded", "cancelled", "failed"].includes(job.state);

export function startClip(section) {
  const view = new View();
  const thresholds = new Thresholds();
  const stage = new Stage(view, thresholds);
  const player = new Player(stage);
  const bars = new AuBars(view, thresholds);
  const tabs = faceTabs(view);
  let timeline = null;
  let maps = null;
  let job = null;
  let strips = new Map();
  let opening = new AbortController();

  const controls = viewControls(view, thresholds, () => timeline?.aus ?? [], { points: false });
  const events = new EventTable(thresholds, { onSeek: (ms, track) => { player.video.pause(); player.seekTime(ms); view.update({ face: track }); } });
  const stripsPlace = el("div", { class: "strips" });
  const exportsPlace = el("div", { class: "toolbar", role: "group", "aria-label": "Save as" });
  const heading = el("h2", { class: "clip-name" });
  const viewer = el(
    "div",
    { class: "clip-view", hidden: true },
    el("div", { class: "clip-stage" }, heading, stage.figure, player.controls, controls.controls),
    el("div", { class: "clip-side card" }, tabs.element, bars.element),
    stripsPlace,
    events.element,
    el("section", { class: "card" }, el("h2", {}, "Save as"), exportsPlace),
  );

  // Sending
  const file = el("input", { type: "file", accept: "video/*,.mkv,.mxf,.avi,.ts,.mts", class: "visually-hidden", tabIndex: -1, "aria-hidden": "true" });
  const choose = el("button", { type: "button", class: "primary" }, "Choose a clip");
  const checkpoint = el("span", {});
  const sending = el("progress", { max: 1, value: 0, "aria-label": "Upload", hidden: true });
  const giveUp = el("button", { type: "button", hidden: true }, "Stop sending");
  const status = el("span", { class: "hint", role: "status" });
  let upload = null;
  const send = trying(async (clip) => {
    if (!clip) return;
    upload = new AbortController();
    [sending.hidden, giveUp.hidden, choose.disabled] = [false, false, true];
    status.textContent = `Sending ${clip.name} …`;
    try {
      const ref = checkpoint.firstChild?.value;
      const query = new URLSearchParams(ref ? { checkpoint: ref } : {});
      neutral.addTo(query);
      const onProgress = (share) => { sending.value = share; };
      const made = await sendFile(`jobs?${query}`, "video", clip, { onProgress, signal: upload.signal });
      list.add(made);
      await open(made);
    } finally {
      [sending.hidden, giveUp.hidden, choose.disabled] = [true, true, false];
      status.textContent = "";
    }
  });
  choose.addEventListener("click", () => file.click());
  giveUp.addEventListener("click", () => upload?.abort());
  file.addEventListener("change", () => {
    send(file.files[0]);
    file.value = "";
  });

  const list = new JobList({
    onOpen: (chosen) => open(chosen),
    onChange: (moved) => moved.id === job?.id && grow(moved),
    onGone: (id) => id === job?.id && close(),
  });
  section.append(
    el("div", { class: "toolbar" }, choose, file, labelled("Checkpoint", checkpoint), neutralChip(), sending, giveUp, status),
    el("div", { class: "clip-layout" }, el("aside", { class: "card jobs", "aria-label": "Clips" }, el("h2", {}, "Clips"), list.element), viewer),
  );

  // Looking
  const show = () => {
    if (!timeline) return;
    const { position } = player;
    const faces = timeline.faces(position);
    const aus = wantedAus(position);
    for (const face of faces) face.maps = maps.get(timeline.frame[position], face.face, aus);
    if (position >= 0) maps.want(timeline.frame[Math.min(position + 16, timeline.length - 1)], aus);
    stage.setFaces(faces, true);
    tabs.update([...timeline.tracks.keys()].sort((a, b) => a - b).map((track) => ({ track })));
    bars.show(faces.find((face) => face.track === view.face) ?? null);
    const ms = position < 0 ? 0 : timeline.pts[position];
    for (const strip of strips.values()) strip.setTime(ms);
  };
  /** The AUs whose maps may be drawn around here. */
  const wantedAus = (position) => {
    if (view.au === "" || position < 0) return [];
    if (view.au !== null) return [view.au];
    const wanted = new Set();
    for (let near = Math.max(0, position - 16); near < Math.min(timeline.length, position + 32); near += 4) {
      for (const face of timeline.faces(near)) for (const au of face.aus) if (thresholds.decide(au.au, au.probability, au.active)) wanted.add(au.au);
    }
    for (const face of timeline.faces(position)) for (const au of face.aus) if (thresholds.decide(au.au, au.probability, au.active)) wanted.add(au.au);
    return [...wanted].sort();
  };
  const tell = settled(() => {
    if (!timeline || section.hidden) return;
    const face = timeline.faces(player.position).find((entry) => entry.track === view.face);
    select(face ? { job: job.id, frame: timeline.frame[player.position], face: face.face, track: face.track, au: view.au, aus: face.aus, picture: null, checkpoint: timeline.checkpoint } : null);
  }, 200);
  player.addEventListener("frame", () => {
    show();
    tell();
  });
  const redrawAll = () => {
    show();
    for (const strip of strips.values()) strip.redraw();
  };
  view.addEventListener("change", () => {
    redrawAll();
    tell();
  });
  thresholds.addEventListener("change", redrawAll);
  addEventListener("roigcn:theme", redrawAll);

  const makeStrips = () => {
    for (const track of timeline.tracks.keys()) {
      if (strips.has(track)) continue;
      const strip = new Strip(track, timeline, view, thresholds);
      strip.addEventListener("seek", (event) => {
        player.video.pause();
        view.update({ face: track });
        player.seekTime(event.detail);
      });
      strip.addEventListener("move", (event) => player.step(event.detail));
      strips.set(track, strip);
    }
    stripsPlace.replaceChildren(...[...strips].sort(([a], [b]) => a - b).map(([, strip]) => strip.element));
  };

  const open = trying(async (chosen) => {
    close();
    opening = new AbortController();
    const { signal } = opening;
    job = chosen;
    list.choose(job.id);
    history.replaceState(null, "", `#/clip=${job.id}`);
    heading.textContent = job.media?.name ?? "Clip";
    timeline = new Timeline(job.id);
    maps = new MapCache(job.id, () => show());
    viewer.hidden = false;
    await grow(job);
  });

  /** Once the size of the picture is known and the first frames are stored. */
  const openPlayer = async (signal) => {
    if (player.opened || !job.media?.width || !timeline.length) return;
    const link = await getJson(`jobs/${job.id}/media-link`, { signal });
    if (!signal.aborted) player.open(timeline, link.url, { width: job.media.width, height: job.media.height });
  };

  let growing = null;
  /** Reads what has been stored since, at the job's end all of it; the player opens when the size of the picture is known. */
  const grow = trying(async (moved) => {
    // What was begun may fail, or be aborted with a clip that was left; what is asked for now is asked for all the same.
    if (growing) return growing.catch(() => {}).then(() => (isFinal(moved) ? grow(moved) : undefined));
    const { signal } = opening;
    job = moved;
    const anew = isFinal(moved) && timeline.length;
    const mine = anew ? timeline.reload(signal) : timeline.load(null, signal);
    growing = mine;
    try {
      await mine;
    } finally {
      if (growing === mine) growing = null;
    }
    if (signal.aborted) return;
    if (timeline.checkpoint && refOf(timeline.checkpoint) !== viewer.dataset.checkpoint) {
      viewer.dataset.checkpoint = refOf(timeline.checkpoint);
      thresholds.load(timeline.thresholds);
    }
    controls.fill();
    makeStrips();
    maps.forget();
    redrawAll();
    await openPlayer(signal);
    if (isFinal(moved)) {
      await events.load(job.id, signal);
      await exportButtons(exportsPlace, job.id, "video", events);
    }
    return undefined;
  });

  events.addEventListener("change", () => {
    for (const [track, strip] of strips) strip.setEvents(events.of(track));
  });

  const close = () => {
    opening.abort();
    growing = null;
    player.close();
    strips = new Map();
    stripsPlace.replaceChildren();
    exportsPlace.replaceChildren();
    events.clear();
    timeline = null;
    job = null;
    delete viewer.dataset.checkpoint;
    viewer.hidden = true;
    select(null);
  };

  addEventListener("keydown", (event) => {
    if (section.hidden || !timeline || event.target.closest("input, select, textarea, button, [role=slider]")) return;
    if (event.key === " ") player.toggle();
    else if (event.key === "ArrowRight") player.step(event.shiftKey ? 10 : 1);
    else if (event.key === "ArrowLeft") player.step(event.shiftKey ? -10 : -1);
    else return;
    event.preventDefault();
  });

  const choices = () => checkpoint.replaceChildren(checkpointSelect({ "aria-label": "Checkpoint for new clips" }));
  const load = async () => {
    choices();
    await list.load();
    const asked = /^#\/clip=([0-9a-f-]{36})$/.exec(location.hash);
    if (asked) await getJson(`jobs/${asked[1]}`).then(open, complain);
  };
  return { load, send };
}
