// Buttons that download a job in each format that the service writes.
import { download, getJson } from "./api.js";
import { el } from "./dom.js";
import { say, trying } from "./notices.js";

let formats = null;

/** The options of one format; those of the table of events where it holds events. */
function query(format, events) {
  const options = { format: format.name, partial: true };
  return format.events && events ? events.query(options) : new URLSearchParams(options);
}

/** Fills `place` with a button for each format of `GET /exports` that holds this kind of job. */
export async function exportButtons(place, job, kind, events = null) {
  formats ??= (await getJson("exports")).formats;
  place.replaceChildren(
    ...formats.filter((format) => format.kinds.includes(kind)).map((format) => {
      const button = el("button", { type: "button", title: format.title, "data-format": format.name }, format.name);
      button.addEventListener("click", trying(async () => {
        button.disabled = true;
        try {
          say(`Saved ${await download(`jobs/${job}/export?${query(format, events)}`, `${job}${format.suffix}`)}.`);
        } finally {
          button.disabled = false;
        }
      }));
      return button;
    }),
  );
}
