// The list of clips: what waits, runs and is done, with progress, cancel and delete.
import { follow, getJson, request } from "./api.js";
import { el, humanBytes } from "./dom.js";
import { trying } from "./notices.js";

const FINAL = ["succeeded", "failed", "cancelled"];

/** `onOpen(job)` when a job is chosen, `onChange(job)` when one has moved, `onGone(id)` when one is deleted. */
export class JobList {
  #rows = new Map();
  #followed = new Map();
  #chosen = null;

  constructor({ onOpen, onChange, onGone }) {
    Object.assign(this, { onOpen, onChange, onGone });
    this.list = el("ul", { class: "job-list", "aria-label": "Clips" });
    this.empty = el("p", { class: "hint" }, "No clip has been sent yet.");
    this.more = el("button", { type: "button", hidden: true }, "Older clips");
    this.more.addEventListener("click", trying(() => this.#page(this.more.dataset.next)));
    this.element = el("div", {}, this.empty, this.list, this.more);
  }

  async load() {
    await this.#page("jobs?kind=video&limit=20");
  }

  async #page(path) {
    const page = await getJson(path);
    for (const job of page.jobs) this.#show(job, false);
    this.more.hidden = !page.next;
    this.more.dataset.next = page.next ?? "";
    this.empty.hidden = this.#rows.size > 0;
  }

  /** A job that was just made. */
  add(job) {
    this.#show(job, true);
    this.empty.hidden = true;
  }

  choose(id) {
    this.#chosen = id;
    for (const [other, row] of this.#rows) row.open.setAttribute("aria-pressed", String(other === id));
  }

  #show(job, first) {
    let row = this.#rows.get(job.id);
    if (!row) {
      row = this.#build(job);
      this.#rows.set(job.id, row);
      if (first) this.list.prepend(row.item);
      else this.list.append(row.item);
    }
    row.job = job;
    const { progress, state } = job;
    row.state.textContent = { queued: "waiting", running: "running", cancelling: "stopping", succeeded: "done", failed: "failed", cancelled: "cancelled" }[state];
    row.item.dataset.state = state;
    row.bar.hidden = FINAL.includes(state);
    if (progress.fraction === null) row.bar.removeAttribute("value");
    else row.bar.value = progress.fraction;
    const total = progress.frames_total === null ? "" : ` of ${progress.frames_total}`;
    row.detail.textContent = job.error ? job.error.detail : `${progress.frames_done}${total} frames${job.checkpoint ? ` · ${job.checkpoint.name}:${job.checkpoint.version}` : ""}${job.media ? ` · ${humanBytes(job.media.bytes)}` : ""}`;
    row.cancel.hidden = FINAL.includes(state);
    if (!FINAL.includes(state)) this.#follow(job.id);
  }

  #build(job) {
    const name = job.media?.name ?? `clip ${job.id.slice(-6)}`;
    const state = el("span", { class: "job-state" });
    const bar = el("progress", { max: 1, "aria-label": `Progress of ${name}` });
    const detail = el("small", {});
    const open = el("button", { type: "button", class: "job-open", "aria-pressed": String(job.id === this.#chosen) }, el("span", { class: "job-name" }, name), state);
    const cancel = el("button", { type: "button", class: "quiet", "aria-label": `Cancel ${name}` }, "Cancel");
    const remove = el("button", { type: "button", class: "quiet danger", "aria-label": `Delete ${name}` }, "Delete");
    const item = el("li", { class: "job", "data-job": job.id }, open, bar, el("div", { class: "job-foot" }, detail, cancel, remove));
    open.addEventListener("click", () => this.onOpen(this.#rows.get(job.id).job));
    cancel.addEventListener("click", trying(async () => this.#show(await (await request(`jobs/${job.id}/cancel`, { method: "POST" })).json(), false)));
    remove.addEventListener("click", trying(async () => {
      if (!confirm(`Delete ${name} with all its results and its file?`)) return;
      await request(`jobs/${job.id}`, { method: "DELETE" });
      this.#drop(job.id);
    }));
    return { item, open, state, bar, detail, cancel, job };
  }

  #drop(id) {
    this.#followed.get(id)?.abort();
    this.#rows.get(id)?.item.remove();
    this.#rows.delete(id);
    this.empty.hidden = this.#rows.size > 0;
    this.onGone(id);
  }

  #follow(id) {
    if (this.#followed.has(id)) return;
    const ending = new AbortController();
    this.#followed.set(id, ending);
    follow(`jobs/${id}/events`, (event, job) => {
      if (event === "deleted") this.#drop(id);
      else if (this.#rows.has(id)) {
        this.#show(job, false);
        this.onChange(job);
      }
    }, ending.signal).finally(() => this.#followed.delete(id));
  }
}
