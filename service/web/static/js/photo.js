// A photo: sent, shown with its faces; with a second checkpoint, twice, side by side.
import { getJson, sendFile } from "./api.js";
import { AuBars, faceTabs } from "./bars.js";
import { checkpointSelect, refOf, thresholdsOf } from "./checkpoints.js";
import { el, labelled } from "./dom.js";
import { facesOf, mapsOf } from "./faces.js";
import { complain, trying } from "./notices.js";
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
  const openKept = el("a", { class: "button", hidden: true, target: "_blank", rel: "noopener" }, "Picture with bars (PNG)");
  const results = el(
    "div",
    { class: "results", hidden: true },
    tabs.element,
    el("div", { class: "readings" }, el("div", { class: "reading" }, first.stage.figure, first.bars.element), el("div", { class: "reading", id: "reading-b", hidden: true }, second.stage.figure, second.bars.element)),
    controls.controls,
  );
  section.append(
    el("div", { class: "toolbar" }, choose, file, labelled("Checkpoint", checkpointA), labelled("beside it", checkpointB), el("label", { class: "check" }, keep, " keep as a job"), openKept, status),
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

  const read = async (blob, ref) => {
    const query = new URLSearchParams({ roi: "full", store: String(keep.checked) });
    if (ref) query.set("checkpoint", ref);
    const answer = await sendFile(`detect?${query}`, "image", blob);
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
      const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
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
      openKept.hidden = true;
    } finally {
      if (mine === run) {
        section.removeAttribute("aria-busy");
        if (status.textContent.startsWith("Reading")) status.textContent = "";
      }
    }
  });
  const again = () => open(picture);

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
  dispatchEvent(new Event("roigcn:photo-ready"));
  return { open, choices, complain };
}
