// The camera: frames go over a socket, at most two on their way at a time; each answer is shown on the very frame that
// it belongs to.
import { ProblemError, apiKey, url } from "./api.js";
import { AuBars, faceTabs } from "./bars.js";
import { checkpointSelect, refOf, thresholdsOf } from "./checkpoints.js";
import { el, labelled } from "./dom.js";
import { facesOf } from "./faces.js";
import { complain, trying } from "./notices.js";
import { Stage } from "./stage.js";
import { Thresholds } from "./thresholds.js";
import { View, viewControls } from "./view.js";

const LONGER_SIDE = 640;
const UNDER_WAY = 2;
const REMEMBERED = 40; // answers that the meters look back on

export function startCamera(section) {
  const view = new View();
  const thresholds = new Thresholds();
  const stage = new Stage(view, thresholds);
  const bars = new AuBars(view, thresholds);
  const tabs = faceTabs(view);
  const video = el("video", { muted: true, playsInline: true, class: "visually-hidden", tabIndex: -1, "aria-hidden": "true" });
  const start = el("button", { type: "button", class: "primary" }, "Open the camera");
  const end = el("button", { type: "button", hidden: true }, "Close the camera");
  const largest = el("input", { type: "checkbox" });
  const checkpoint = el("span", {});
  const rest = el("button", { type: "button", hidden: true, title: "Look at the camera with a resting face: brows and lids (AU1, 2, 4, 7) are held against it until the camera is closed" }, "This is my resting face");
  const held = el("span", { class: "hint", role: "status" });
  const status = el("span", { class: "hint", role: "status" });
  const meters = Object.fromEntries(
    [["fps", "answers a second"], ["trip", "round trip"], ["worked", "in the service"], ["camera", "camera"], ["skipped", "passed over here + there"]].map(([name, label]) => [name, { label, value: el("dd", { "data-meter": name }, "–") }]),
  );
  let aus = [];
  let reader = null; // the checkpoint whose thresholds are loaded
  const controls = viewControls(view, thresholds, () => aus);
  const body = el(
    "div",
    { class: "camera-view", hidden: true },
    el("div", {}, stage.figure, el("dl", { class: "meter" }, Object.values(meters).map(({ label, value }) => el("div", {}, el("dt", {}, label), value))), controls.controls),
    el("div", { class: "card" }, tabs.element, bars.element),
  );
  section.append(
    el("div", { class: "toolbar" }, start, end, labelled("Checkpoint", checkpoint), el("label", { class: "check" }, largest, " largest face only"), rest, held, status),
    el("p", { class: "hint" }, "Frames are sent to this service alone and are not kept. Nothing is recorded. Faces are found anew in each frame and numbered by size."),
    body,
    video,
  );

  let stream = null;
  let socket = null;
  let sent = new Map(); // frame number -> { bitmap, at }
  let number = 0;
  let skipped = 0;
  let answers = [];
  let cameraTimes = [];
  let faces = [];
  let encoding = false;

  const wishes = () => ({
    ...(apiKey() ? { key: apiKey() } : {}),
    faces: largest.checked ? "largest" : "all",
    ...(checkpoint.firstChild?.value ? { checkpoint: checkpoint.firstChild.value } : {}),
    maps: view.opacity === 0 || view.au === "" ? [] : view.au === null ? activeAus() : [view.au],
  });
  const activeAus = () => {
    const wanted = new Set();
    for (const face of faces) for (const au of face.aus) if (thresholds.decide(au.au, au.probability, au.active)) wanted.add(au.au);
    return [...wanted].sort();
  };
  let told = "";
  const tell = () => {
    const text = JSON.stringify(wishes());
    if (socket?.readyState !== WebSocket.OPEN || text === told) return;
    told = text;
    socket.send(text);
  };

  const open = trying(async () => {
    start.disabled = true;
    try {
      if (!navigator.mediaDevices) throw new ProblemError({ title: "No camera here", detail: "Browsers give the camera only to pages on this machine (localhost) or over https." }, 0);
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "user" } }).catch((error) => {
        throw new ProblemError({ title: "No camera", detail: `The browser gives no camera: ${error.message}.` }, 0);
      });
      video.srcObject = stream;
      await video.play();
      connect();
      [start.hidden, end.hidden, rest.hidden, body.hidden] = [true, false, false, false];
      for (const track of stream.getTracks()) track.addEventListener("ended", stop);
    } finally {
      start.disabled = false;
    }
  });

  const connect = () => {
    [sent, number, skipped, answers, cameraTimes, told] = [new Map(), 0, 0, [], [], ""];
    const address = new URL(url("camera"));
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const mine = new WebSocket(address);
    socket = mine;
    status.textContent = "Connecting …";
    mine.addEventListener("open", tell);
    mine.addEventListener("message", (event) => mine === socket && hear(JSON.parse(event.data)));
    mine.addEventListener("close", (event) => {
      if (mine !== socket) return;
      socket = null;
      if (event.code === 1000) return;
      stop();
      if (event.code === 4401) dispatchEvent(new Event("roigcn:key-needed"));
      if (event.code < 4000) complain(new ProblemError({ title: "The camera's connection ended", detail: "Open the camera again." }, 0));
    });
  };

  const hear = (message) => {
    if (message.ready) {
      status.textContent = "";
      video.requestVideoFrameCallback(offer);
      return;
    }
    const now = performance.now();
    const frame = sent.get(message.frame);
    for (const earlier of [...sent.keys()].filter((other) => other < message.frame)) {
      sent.get(earlier).bitmap.close();
      sent.delete(earlier);
    }
    if (message.problem) {
      complain(new ProblemError(message.problem, message.problem.status));
      if (frame) sent.delete(message.frame);
      return;
    }
    if (!frame) return;
    sent.delete(message.frame);
    answers.push({ at: now, trip: now - frame.at, worked: message.worked_ms });
    answers = answers.slice(-REMEMBERED);
    // Answers of the checkpoint before come in for a moment after another was chosen.
    if (message.faces.length && refOf(message.checkpoint) !== reader) {
      reader = refOf(message.checkpoint);
      aus = message.faces[0].aus.map((au) => au.au);
      thresholds.load(thresholdsOf(message.checkpoint));
      controls.fill();
    }
    faces = facesOf(message);
    held.textContent = message.held ? "Brows and lids of the largest face against its rest" : "";
    stage.show(frame.bitmap, message.image.width, message.image.height);
    stage.setFaces(faces, true);
    if (shown !== frame.bitmap) shown?.close();
    shown = frame.bitmap;
    tabs.update(faces);
    bars.show(faces.find((face) => face.track === view.face) ?? faces[0] ?? null);
    meter(message);
    tell();
  };
  let shown = null;

  const meter = (message) => {
    const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    const rate = (times) => (times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : 0);
    meters.fps.value.textContent = rate(answers.map((answer) => answer.at)).toFixed(1);
    meters.trip.value.textContent = `${middle(answers.map((answer) => answer.trip)).toFixed(0)} ms`;
    meters.worked.value.textContent = `${middle(answers.map((answer) => answer.worked)).toFixed(0)} ms`;
    meters.camera.value.textContent = `${rate(cameraTimes).toFixed(1)} fps`;
    meters.skipped.value.textContent = `${skipped} + ${message.dropped}`;
  };

  /** Offers the camera's present picture: sent if there is room for it, passed over if not. */
  const offer = async (now) => {
    if (!socket || !stream) return;
    video.requestVideoFrameCallback(offer);
    cameraTimes = [...cameraTimes, now].slice(-REMEMBERED);
    if (encoding || sent.size >= UNDER_WAY || socket.bufferedAmount > 0 || socket.readyState !== WebSocket.OPEN) {
      skipped += 1;
      return;
    }
    encoding = true;
    try {
      const zoom = Math.min(1, LONGER_SIDE / Math.max(video.videoWidth, video.videoHeight));
      const [width, height] = [Math.round(video.videoWidth * zoom), Math.round(video.videoHeight * zoom)];
      const bitmap = await createImageBitmap(video, { resizeWidth: width, resizeHeight: height });
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      const picture = await (await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 })).arrayBuffer();
      if (!socket) return;
      number += 1;
      const message = new Uint8Array(4 + picture.byteLength);
      new DataView(message.buffer).setUint32(0, number);
      message.set(new Uint8Array(picture), 4);
      sent.set(number, { bitmap, at: performance.now() });
      socket.send(message);
    } finally {
      encoding = false;
    }
  };

  const stop = () => {
    for (const track of stream?.getTracks() ?? []) track.stop();
    stream = null;
    video.srcObject = null;
    const mine = socket;
    socket = null;
    mine?.close(1000);
    [start.hidden, end.hidden, rest.hidden] = [false, true, true];
    held.textContent = "";
    status.textContent = "";
  };

  start.addEventListener("click", open);
  end.addEventListener("click", stop);
  largest.addEventListener("change", tell);
  rest.addEventListener("click", () => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ...wishes(), rest: "take" }));
  });
  view.addEventListener("change", () => {
    tabs.update(faces);
    bars.show(faces.find((face) => face.track === view.face) ?? faces[0] ?? null);
    tell();
  });
  const choices = () => {
    const choice = checkpointSelect({ "aria-label": "Checkpoint for the camera" });
    choice.addEventListener("change", () => {
      [aus, reader] = [[], null];
      tell();
    });
    checkpoint.replaceChildren(choice);
  };
  return { stop, choices };
}
