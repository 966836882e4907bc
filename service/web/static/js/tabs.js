// The tabs of the page: arrow keys move between them, the address keeps which one is open.

export function startTabs(onOpen) {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  const open = (tab, focus = false) => {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      document.getElementById(other.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    const name = tab.getAttribute("aria-controls");
    // Not the name of an element: the browser would begin there when Tab is pressed.
    if (location.hash.split("=")[0] !== `#/${name}`) history.replaceState(null, "", `#/${name}`);
    onOpen(name);
  };
  for (const [number, tab] of tabs.entries()) {
    tab.addEventListener("click", () => open(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) open(tabs[(number + step + tabs.length) % tabs.length], true);
    });
  }
  const named = (name) => tabs.find((tab) => tab.getAttribute("aria-controls") === name);
  return { open: (name) => open(named(name)), start: () => open(named(location.hash.slice(2).split("=")[0]) ?? tabs[0]) };
}
