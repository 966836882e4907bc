// Further panels on one face of one result. A module adds one with
//
//   import { addPanel } from "./panels.js";
//   addPanel({
//     id: "explain",
//     title: "Inside the network",
//     show(place, selection) { … },   // fill `place`; called whenever the selection changes and the panel is open
//   });
//
// and is imported in main.js. A selection is { job, frame, face, track, au, aus, picture, checkpoint }: `job` is null
// for a picture that was not kept and for the camera; `au` is null while the maps of all active AUs are shown.
import { el } from "./dom.js";

const panels = [];
let current = null;

export function addPanel(panel) {
  const place = el("div", { class: "panel-body" });
  const details = el("details", { class: "panel card", id: `panel-${panel.id}`, hidden: !current }, el("summary", {}, panel.title), place);
  details.addEventListener("toggle", () => details.open && current && panel.show(place, current));
  document.getElementById("panels").append(details);
  panels.push({ panel, place, details });
}

/** Says which face is looked at; null for none. */
export function select(selection) {
  current = selection;
  for (const { panel, place, details } of panels) {
    details.hidden = !selection;
    if (selection && details.open) panel.show(place, selection);
  }
}

export function selection() {
  return current;
}
