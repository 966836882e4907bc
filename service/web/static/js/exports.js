// Buttons that download a job in each format that the service writes.
import { download, getJson } from "./api.js";
import { el } from "./dom.js";
import { say, trying } from "./notices.js";

let formats = null;

/** Fills `place` with a button for each format of `GET /exports`; without formats the whole card is hidden. */
export async function exportButtons(place, job, events) {
  try {
    formats ??= (await getJson("exports")).formats;
  } catch (error) {
    if (error.status !== 404) throw error;
    formats = [];
  }
  place.parentElement.hidden = formats.length === 0;
  place.replaceChildren(
    ...formats.filter((format) => format.kinds.includes("video")).map((format) => {
      const button = el("button", { type: "button", title: format.title, "data-format": format.name }, format.name);
      button.addEventListener("click", trying(async () => {
        button.disabled = true;
        try {
          say(`Saved ${await download(`jobs/${job}/export?${format.events ? events.query({ format: format.name, partial: true }) : new URLSearchParams({ format: format.name, partial: true })}`, `${job}${format.suffix}`)}.`);
        } finally {
          button.disabled = false;
        }
      }));
      return button;
    }),
  );
}
