// Making elements without HTML strings: nothing a server or a file name says becomes markup.

/**
 * An element with attributes and children. Attributes that begin with "on" are listeners, `class` and `data-…` are
 * taken as they are; `false`, `null` and `undefined` leave an attribute out.
 */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria") && name !== "list" && name !== "form") {
      if (name === "className" || typeof element[name] !== "object") element[name] = value;
      else element.setAttribute(name, value);
    } else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A labelled control in one line. */
export function labelled(text, control, ...more) {
  return el("label", { class: "field" }, el("span", {}, text), control, ...more);
}

/** Calls `work` once at most per animation frame. */
export function everyFrame(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

/** Calls `work` when nothing was asked for so many milliseconds. */
export function settled(work, milliseconds) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), milliseconds);
  };
}

/** Bytes as a person says them. */
export function humanBytes(count) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= size) return `${(count / size).toPrecision(3)} ${unit}`;
  }
  return `${count} bytes`;
}

/** Milliseconds as m:ss.mmm. */
export function clock(ms) {
  const whole = Math.max(0, Math.round(ms));
  const minutes = Math.floor(whole / 60000);
  return `${minutes}:${String(Math.floor(whole / 1000) % 60).padStart(2, "0")}.${String(whole % 1000).padStart(3, "0")}`;
}
