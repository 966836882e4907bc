// Talking to the service: JSON, uploads with progress, server-sent events, problem documents, the API key.

const KEY = "roigcn-key";

/** A problem document (RFC 9457) as an error. */
export class ProblemError extends Error {
  constructor(document, status) {
    super(document.detail ?? `The service answered ${status}.`);
    this.type = document.type ?? "unknown";
    this.title = document.title ?? "Something went wrong";
    this.status = status;
  }
}

/** A path of the API as a URL, also where the service is mounted under a prefix. */
export function url(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

export function apiKey() {
  return sessionStorage.getItem(KEY);
}

export function setApiKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

function withKey(headers = {}) {
  const key = apiKey();
  return key ? { ...headers, "X-API-Key": key } : headers;
}

function refuse(document, status) {
  const error = new ProblemError(document, status);
  if (status === 401) dispatchEvent(new CustomEvent("roigcn:key-needed", { detail: error }));
  return error;
}

/** A response of the API; throws `ProblemError` for everything but success. */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(url(path), { ...options, headers: withKey(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ProblemError({ type: "unreachable", title: "No answer", detail: "The service does not answer." }, 0);
  }
  if (response.ok) return response;
  throw refuse(await response.json().catch(() => ({})), response.status);
}

export async function getJson(path, options = {}) {
  return (await request(path, options)).json();
}

/** Sends a file as a form; `onProgress` gets the share that is sent, 0 to 1. */
export function sendFile(path, field, file, { onProgress, signal } = {}) {
  return new Promise((resolve, reject) => {
    const form = new FormData();
    form.append(field, file, file.name ?? "picture.jpg");
    const call = new XMLHttpRequest();
    call.open("POST", url(path));
    for (const [name, value] of Object.entries(withKey())) call.setRequestHeader(name, value);
    call.responseType = "json";
    call.upload.onprogress = (event) => event.lengthComputable && onProgress?.(event.loaded / event.total);
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) resolve(call.response);
      else reject(refuse(call.response ?? {}, call.status));
    };
    call.onerror = () =>
      reject(new ProblemError({ type: "unreachable", title: "No answer", detail: "The service does not answer, or it closed the connection." }, 0));
    call.onabort = () => reject(new DOMException("given up", "AbortError"));
    signal?.addEventListener("abort", () => call.abort());
    call.send(form);
  });
}

/**
 * Follows server-sent events until the stream ends: `onEvent(name, data)`. An `EventSource` cannot send a key, so the
 * stream is read here. A connection that breaks is opened again.
 */
export async function follow(path, onEvent, signal) {
  let last = null;
  for (;;) {
    try {
      const headers = { Accept: "text/event-stream", ...(last ? { "Last-Event-ID": last } : {}) };
      const response = await request(path, { headers, signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        text += value.replaceAll("\r\n", "\n");
        const blocks = text.split("\n\n");
        text = blocks.pop();
        for (const block of blocks) {
          const fields = { event: "message", data: [], id: null };
          for (const line of block.split("\n")) {
            const [name, ...rest] = line.split(":");
            const content = rest.join(":").replace(/^ /, "");
            if (name === "data") fields.data.push(content);
            else if (name === "event" || name === "id") fields[name] = content;
          }
          last = fields.id ?? last;
          if (fields.data.length) onEvent(fields.event, JSON.parse(fields.data.join("\n")));
        }
      }
    } catch (error) {
      if (signal?.aborted || (error instanceof ProblemError && error.status >= 400 && error.status < 500)) return;
      await new Promise((resolve) => setTimeout(resolve, 2000));
    }
  }
}

/** Fetches a file with the key and hands it to the browser as a download. */
export async function download(path, fallbackName) {
  const response = await request(path);
  const disposition = response.headers.get("content-disposition") ?? "";
  const whole = /filename\*=UTF-8''([^;]+)/i.exec(disposition);
  const plain = /filename="?([^";]+)"?/.exec(disposition);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = whole ? decodeURIComponent(whole[1]) : (plain?.[1] ?? fallbackName);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  return link.download;
}
