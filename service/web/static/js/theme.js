// Light, dark, or as the system has it.
const NEXT = { system: "light", light: "dark", dark: "system" };
const SHOWN = { system: ["◐", "as the system"], light: ["○", "light"], dark: ["●", "dark"] };

export function startTheme(button) {
  let theme = localStorage.getItem("roigcn-theme") ?? "system";
  const apply = () => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    [button.textContent] = SHOWN[theme];
    button.setAttribute("aria-label", `Colours: ${SHOWN[theme][1]}`);
    button.title = `Colours: ${SHOWN[theme][1]}`;
    dispatchEvent(new Event("roigcn:theme"));
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme] ?? "system";
    localStorage.setItem("roigcn-theme", theme);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}

/** The value of a colour of base.css, for canvases. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}
