// The operators' page: sends the token once, forgets it, and shows the lines that come back.
"use strict";

const form = document.getElementById("leaks");
const stop = document.getElementById("stop");
const progress = document.getElementById("progress");
const result = document.getElementById("result");
let running = null;

/** What Python has rendered: every text in it is escaped there. */
function show(line) {
  const { status, html } = JSON.parse(line);
  progress.textContent = status;
  if (html) {
    result.innerHTML = html;
    result.focus();
  }
}

async function read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    const lines = (rest + piece.value).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach(show);
  }
}

async function look() {
  const body = new URLSearchParams(new FormData(form));
  form.reset();
  result.replaceChildren();
  progress.textContent = "Asking the gateway…";
  form.elements[1].disabled = true;
  stop.hidden = false;
  running = new AbortController();
  try {
    await read((await fetch(form.action, { method: "POST", body, signal: running.signal })).body);
  } catch {
    progress.textContent = running.signal.aborted ? "Stopped." : "The connection was lost. Try again.";
  } finally {
    form.elements[1].disabled = false;
    stop.hidden = true;
  }
}

form.addEventListener("submit", event => {
  event.preventDefault();
  look();
});
stop.addEventListener("click", () => running?.abort());
