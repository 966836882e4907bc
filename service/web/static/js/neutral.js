// A neutral picture: brows and lids of photos and clips that are sent from now on are held against it.
import { el } from "./dom.js";

/** The one that is chosen, a job of this service; dispatches `change`. */
class Neutral extends EventTarget {
  job = null;
  name = "";

  choose(job, name) {
    [this.job, this.name] = [job, name];
    this.dispatchEvent(new Event("change"));
  }

  forget() {
    this.choose(null, "");
  }

  /** Adds it to the parameters of a request. */
  addTo(query) {
    if (this.job) query.set("neutral", this.job);
  }
}

export const neutral = new Neutral();

/** Says which one is chosen, with a button that forgets it; nothing while there is none. */
export function neutralChip() {
  const name = el("span", {});
  const forget = el("button", { type: "button", "aria-label": "Forget the neutral picture", title: "Forget it" }, "×");
  forget.addEventListener("click", () => neutral.forget());
  const chip = el("span", { class: "chip", title: "Brows and lids (AU1, 2, 4, 7) are held against this picture" }, name, forget);
  const show = () => {
    chip.hidden = !neutral.job;
    name.textContent = `neutral: ${neutral.name}`;
  };
  neutral.addEventListener("change", show);
  show();
  return chip;
}
