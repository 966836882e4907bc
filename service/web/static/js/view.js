// How faces are shown: which AU's map, how opaque, boxes and points. Shared by photo, clip and camera.
import { el, labelled } from "./dom.js";

/** `au` is null while the maps of all active AUs are shown, `""` for none. Dispatches `change`. */
export class View extends EventTarget {
  au = null;
  face = 0;
  opacity = 1;
  boxes = true;
  points = false;

  update(values) {
    Object.assign(this, values);
    this.dispatchEvent(new Event("change"));
  }
}

/** The controls of a view, and of thresholds for all AUs at once. */
export function viewControls(view, thresholds, auCodes, { points: withPoints = true } = {}) {
  const maps = el("select", { "aria-label": "Whose ROI maps are shown" });
  const fill = () => {
    maps.replaceChildren(
      el("option", { value: "active" }, "of active AUs"),
      ...auCodes().map((au) => el("option", { value: au }, au)),
      el("option", { value: "none" }, "none"),
    );
    maps.value = view.au === null ? "active" : view.au || "none";
  };
  maps.addEventListener("change", () => {
    view.update({ au: maps.value === "active" ? null : maps.value === "none" ? "" : maps.value });
  });
  const opacity = el("input", { type: "range", min: 0, max: 1, step: 0.05, value: view.opacity, "aria-label": "Opacity of the ROI maps" });
  opacity.addEventListener("input", () => view.update({ opacity: Number(opacity.value) }));
  const boxes = el("input", { type: "checkbox", checked: view.boxes });
  boxes.addEventListener("change", () => view.update({ boxes: boxes.checked }));
  const points = el("input", { type: "checkbox", checked: view.points });
  points.addEventListener("change", () => view.update({ points: points.checked }));
  const shift = el("input", { type: "range", min: -0.5, max: 0.5, step: 0.01, value: 0, "aria-label": "Move all thresholds" });
  shift.addEventListener("input", () => thresholds.shift(auCodes(), Number(shift.value)));
  const reset = el("button", { type: "button", hidden: true }, "Reset");
  reset.addEventListener("click", () => {
    shift.value = "0";
    thresholds.reset();
  });
  thresholds.addEventListener("change", () => {
    reset.hidden = !thresholds.moved;
    if (!thresholds.moved) shift.value = "0";
  });
  view.addEventListener("change", fill);
  fill();
  const controls = el(
    "div",
    { class: "toolbar", role: "group", "aria-label": "What is shown" },
    labelled("ROI maps", maps),
    labelled("opacity", opacity),
    el("label", { class: "check" }, boxes, " boxes"),
    withPoints && el("label", { class: "check" }, points, " regions"),
    labelled("thresholds", shift, reset),
    legend(),
  );
  return { controls, fill };
}

function legend() {
  return el(
    "span",
    { class: "legend", title: "Signed ROI maps: red where the network says that the AU occurred, blue where it says that it is absent" },
    el("span", { class: "legend-text" }, "absent"),
    el("span", { class: "legend-bar", "aria-hidden": "true" }),
    el("span", { class: "legend-text" }, "occurred"),
  );
}
