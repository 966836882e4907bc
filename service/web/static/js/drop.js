// Files that are dropped anywhere on the page, or pasted: photos go to one place, clips to another.

export function startDrop({ onPhoto, onClip }) {
  const give = (file) => {
    if (!file) return;
    if (file.type.startsWith("image/")) onPhoto(file);
    else onClip(file);
  };
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    give(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => give([...(event.clipboardData?.files ?? [])][0]));
}
