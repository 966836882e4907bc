// Short messages at the top of the page; problems stay until they are closed.
import { el } from "./dom.js";

const place = document.getElementById("notices");

export function say(text) {
  const notice = el("p", { class: "notice" }, text);
  place.replaceChildren(notice);
  setTimeout(() => notice.remove(), 6000);
}

export function complain(error) {
  if (error?.name === "AbortError") return;
  console.warn(error);
  const close = el("button", { type: "button", class: "quiet", "aria-label": "Close this message" }, "×");
  const notice = el("p", { class: "notice problem" }, el("span", {}, el("strong", {}, `${error.title ?? "Problem"}. `), error.message), close);
  close.addEventListener("click", () => notice.remove());
  place.replaceChildren(notice);
}

/** Runs work and shows what goes wrong. */
export function trying(work) {
  return async (...values) => {
    try {
      return await work(...values);
    } catch (error) {
      complain(error);
      return undefined;
    }
  };
}
