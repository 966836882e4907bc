// The installed checkpoints: which one is active, thresholds, what it was trained on.
import { getJson } from "./api.js";
import { el } from "./dom.js";

let installed = [];

export async function loadCheckpoints() {
  installed = (await getJson("checkpoints")).checkpoints;
  return installed;
}

export function checkpoints() {
  return installed;
}

export function refOf(block) {
  return block ? `${block.name}:${block.version}` : null;
}

/** The checkpoint's thresholds by AU; empty where it is not installed (any more). */
export function thresholdsOf(block) {
  const found = installed.find((entry) => refOf(entry) === refOf(block));
  return found?.thresholds ?? {};
}

/** A choice of checkpoint; "" means the active one. */
export function checkpointSelect(attributes, first = "active") {
  const active = installed.find((entry) => entry.active);
  const label = first === "active" ? `active (${active ? refOf(active) : "none"})` : first;
  return el(
    "select",
    attributes,
    el("option", { value: "" }, label),
    installed.map((entry) => el("option", { value: refOf(entry) }, refOf(entry))),
  );
}
