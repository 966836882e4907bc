// Buttons that download a job in each format that the service writes.
import { download, getJson } from "./api.js";
import { el } from "./dom.js";
import { say, trying } from "./notices.js";

let formats = null;

/** Fills `place` with a button for each format of `GET /exports`; without formats the whole card is hidden. */
export async function exportButtons(place, job) {
  try {
    formats ??= (await getJson("exports")).formats;
  } catch (error) {
    if (error.status !== 404) throw error;
    formats = [];
  }
  place.parentElement.hidden = formats.length === 0;
  place.replaceChildren(
    ...formats.map((format) => {
      const button = el("button", { type: "button", title: format.summary ?? format.description ?? "", "data-format": format.name }, format.title ?? format.name);
      button.addEventListener("click", trying(async () => {
        button.disabled = true;
        try {
          say(`Saved ${await download(`jobs/${job}/export?format=${encodeURIComponent(format.name)}`, `${job}.${format.suffix ?? "dat"}`)}.`);
        } finally {
          button.disabled = false;
        }
      }));
      return button;
    }),
  );
}
