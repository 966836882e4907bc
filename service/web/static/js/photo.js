// A photo: sent, shown with its faces; with a second checkpoint, twice, side by side.
import { download, getJson, request, sendFile } from "./api.js";
import { AuBars, faceTabs } from "./bars.js";
import { checkpointSelect, refOf, thresholdsOf } from "./checkpoints.js";
import { el, labelled } from "./dom.js";
import { exportButtons } from "./exports.js";
import { facesOf, mapsOf } from "./faces.js";
import { neutral, neutralChip } from "./neutral.js";
import { trying } from "./notices.js";
import { select } from "./panels.js";
import { Stage } from "./stage.js";
import { Thresholds } from "./thresholds.js";
import { View, viewControls } from "./view.js";

/** One checkpoint's reading of the picture. */
class Reading {
  constructor(view, letter) {
    this.view = view;
    this.thresholds = new Thresholds();
    this.stage = new Stage(view, this.thresholds);
    this.bars = new AuBars(view, this.thresholds, `Action Units, reading ${letter}`);
    this.caption = el("figcaption", { class: "caption" });
    this.stage.figure.append(this.caption);
    this.faces = [];
    this.answer = null;
  }

  /** @param bitmap the picture, upright. */
  show(answer, faces, bitmap) {
    this.answer = answer;
    this.faces = faces;
    this.thresholds.load(thresholdsOf(answer.checkpoint));
    this.stage.show(bitmap, answer.image.width, answer.image.height);
    this.stage.setFaces(faces);
    this.caption.textContent = `${refOf(answer.checkpoint)} · ${faces.length} ${faces.length === 1 ? "face" : "faces"} · ${answer.image.width} × ${answer.image.height}`;
  }

  get face() {
    return this.faces.find((face) => face.track === this.view.face) ?? null;
  }
}

export function startPhoto(section) {
  const view = new View();
  const first = new Reading(view, "A");
  const second = new Reading(view, "B");
  const file = el("input", { type: "file", accept: "image/*", class: "visually-hidden", tabIndex: -1, "aria-hidden": "true" });
  const choose = el("button", { type: "button", class: "primary" }, "Choose a photo");
  const example = el("p", { class: "drop-text" }, "Drop a photo here, or choose one. JPEG, PNG, WebP, TIFF, BMP or GIF; what it shows is turned upright.");
  const drop = el("div", { class: "drop" }, example);
  const keep = el("input", { type: "checkbox", checked: true });
  const tabs = faceTabs(view);
  const status = el("span", { class: "hint", role: "status" });
  const checkpointA = el("span", {});
  const checkpointB = el("span", {});
  const controls = viewControls(view, first.thresholds, () => first.answer?.faces[0]?.aus.map((au) => au.au) ?? []);
  const exportsPlace = el("div", { class: "toolbar", role: "group", "aria-label": "Save as" });
  const saving = el("section", { class: "card", hidden: true }, el("h2", {}, "Save as"), exportsPlace);
  const asNeutral = el("button", { type: "button", title: "Hold brows and lids (AU1, 2, 4, 7) of photos and clips of this person against this picture" }, "Use as neutral");
  const results = el(
    "div",
    { class: "results", hidden: true },
    tabs.element,
    el("div", { class: "readings" }, el("div", { class: "reading" }, first.stage.figure, first.bars.element), el("div", { class: "reading", id: "reading-b", hidden: true }, second.stage.figure, second.bars.element)),
    controls.controls,
    saving,
  );
  section.append(
    el("div", { class: "toolbar" }, choose, file, labelled("Checkpoint", checkpointA), labelled("beside it", checkpointB), el("label", { class: "check" }, keep, " keep as a job"), asNeutral, neutralChip(), status),
    drop,
    results,
  );
  const other = results.querySelector("#reading-b");
  let picture = null;
  let run = 0;

  const choices = () => {
    const a = checkpointSelect({ id: "checkpoint-a", "aria-label": "Checkpoint" });
    const b = checkpointSelect({ id: "checkpoint-b", "aria-label": "A second checkpoint beside it" }, "none");
    a.addEventListener("change", again);
    b.addEventListener("change", again);
    checkpointA.replaceChildren(a);
    checkpointB.replaceChildren(b);
  };

  /** A worker that first has to load a checkpoint may take longer than a request waits: asked again for a while. */
  const patiently = async (send, ref) => {
    const ends = performance.now() + 90000;
    for (;;) {
      try {
        return await send();
      } catch (error) {
        if (!ref || error.type !== "queue-full" || performance.now() > ends) throw error;
        status.textContent = `The worker is loading ${ref} …`;
        await new Promise((resolve) => setTimeout(resolve, 2000));
      }
    }
  };

  /** The picture to show; what this browser cannot decode, such as TIFF, as the service decoded it. */
  const bitmapOf = async (blob, job) => {
    try {
      return await createImageBitmap(blob, { imageOrientation: "from-image" });
    } catch (error) {
      if (!job) throw error;
      return createImageBitmap(await (await request(`jobs/${job}/frames/0/picture`)).blob());
    }
  };

  const read = async (blob, ref) => {
    const query = new URLSearchParams({ roi: "full", store: String(keep.checked) });
    if (ref) query.set("checkpoint", ref);
    neutral.addTo(query);
    const answer = await patiently(() => sendFile(`detect?${query}`, "image", blob), ref);
    const faces = facesOf(answer);
    if (answer.job && faces.length) {
      const kept = mapsOf(await getJson(`jobs/${answer.job}/roi-maps`));
      for (const { face, maps } of kept) faces[face].maps = maps;
    }
    return { answer, faces };
  };

  const open = trying(async (blob) => {
    if (!blob) return;
    const mine = (run += 1);
    picture = blob;
    status.textContent = "Reading the photo …";
    section.setAttribute("aria-busy", "true");
    try {
      const refs = [checkpointA.firstChild?.value, checkpointB.firstChild?.value];
      const one = await read(blob, refs[0]);
      const two = refs[1] ? await read(blob, refs[1]) : null;
      const bitmap = await bitmapOf(blob, one.answer.job);
      if (mine !== run) return;
      first.show(one.answer, one.faces, bitmap);
      if (two) second.show(two.answer, two.faces, bitmap);
      else second.faces = [];
      other.hidden = !two;
      results.classList.toggle("two", Boolean(two));
      results.hidden = false;
      drop.classList.add("small");
      example.textContent = "Drop another photo here.";
      view.update({ face: one.faces[0]?.track ?? 0 });
      status.textContent = one.faces.length ? "" : "No face was found in this photo.";
      saving.hidden = !one.answer.job;
      offerNeutral();
      if (one.answer.job) await offer(one.answer.job);
    } finally {
      if (mine === run) {
        section.removeAttribute("aria-busy");
        if (status.textContent.endsWith("…")) status.textContent = "";
      }
    }
  });
  const again = () => open(picture);
  /** Only a picture that stays can be the neutral one of others. */
  const offerNeutral = () => {
    asNeutral.hidden = results.hidden || !first.answer?.job || !first.faces.length || first.answer.job === neutral.job;
  };
  asNeutral.addEventListener("click", () => neutral.choose(first.answer.job, picture.name || "photo"));
  neutral.addEventListener("change", () => {
    if (neutral.job) offerNeutral();
    else again();
  });
  offerNeutral();
  /** The formats of a picture that was kept, and the picture with its bars. */
  const offer = async (job) => {
    await exportButtons(exportsPlace, job, "image");
    const drawn = el("button", { type: "button", title: "The picture with boxes, ROI maps and bars" }, "png");
    drawn.addEventListener("click", trying(() => download(`jobs/${job}/frames/0/overlay`, `${job}.png`)));
    exportsPlace.append(drawn);
  };

  view.addEventListener("change", () => {
    tabs.update(first.faces);
    first.bars.show(first.face);
    second.bars.show(second.face, first.face);
    const face = first.face;
    const { answer } = first;
    select(face && { job: answer.job, frame: 0, face: face.face, track: face.track, au: view.au, aus: face.aus, picture, checkpoint: answer.checkpoint });
  });
  choose.addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    open(file.files[0]);
    file.value = "";
  });
  keep.addEventListener("change", again);
  choices();
  return { open, choices };
}
