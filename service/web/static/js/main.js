// The page at `/`: wires its parts together.
import { apiKey, getJson, setApiKey } from "./api.js";
import { startCamera } from "./camera.js";
import { checkpoints, loadCheckpoints } from "./checkpoints.js";
import { startClip } from "./clip.js";
import { startDrop } from "./drop.js";
import "./explain.js";
import { complain, say } from "./notices.js";
import { select } from "./panels.js";
import { startPhoto } from "./photo.js";
import { startTabs } from "./tabs.js";
import { startTheme } from "./theme.js";

const part = (id) => document.getElementById(id);

startTheme(part("theme-button"));
const photo = startPhoto(part("photo"));
const clip = startClip(part("clip"));
const camera = startCamera(part("camera"));
const tabs = startTabs((name) => {
  if (name !== "camera") camera.stop();
  select(null);
});
startDrop({
  onPhoto: (file) => {
    tabs.open("photo");
    photo.open(file);
  },
  onClip: (file) => {
    tabs.open("clip");
    clip.send(file);
  },
});

/** What needs the service: again when a key was given. */
async function load() {
  await loadCheckpoints();
  const active = checkpoints().find((entry) => entry.active);
  const note = part("caution-note");
  note.hidden = !active?.synthetic_only;
  note.textContent = active?.synthetic_only
    ? `The active checkpoint, ${active.name}:${active.version}, was trained on rendered faces only: good to try every step with, not to be trusted on real faces. On single pictures of real people it reads mouths far better than brows.${active.reads_landmarks ? " Probabilities also come from the landmarks; regions and scores are the network's alone." : ""}`
    : "";
  photo.choices();
  camera.choices();
  await clip.load();
}

const keyForm = part("key-form");
const keyButton = part("key-button");
addEventListener("roigcn:key-needed", () => {
  keyForm.hidden = false;
  keyButton.hidden = false;
});
keyButton.addEventListener("click", () => {
  keyForm.hidden = !keyForm.hidden;
});
keyForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  setApiKey(part("key-field").value.trim());
  try {
    await getJson("jobs?limit=1");
    keyForm.hidden = true;
    part("key-field").value = "";
    say("The key was accepted.");
    await load();
  } catch (error) {
    complain(error);
  }
});
keyButton.hidden = !apiKey();

tabs.start();
load().catch(complain);
document.documentElement.dataset.ready = "true";
