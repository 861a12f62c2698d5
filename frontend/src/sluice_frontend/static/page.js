// The little that HTML and Gradio do not do by themselves. Gradio draws what Python renders; this acts on it.
"use strict";

/** Hand an event to the gr.HTML component around `element`, which passes it on to Python. */
function send(element, detail) {
  element.dispatchEvent(new CustomEvent("sluice", { detail, bubbles: true }));
}

function openSource(card) {
  const panel = document.getElementById("sources");
  panel.querySelectorAll(".sources-of").forEach(group => { group.hidden = group !== card.parentElement; });
  panel.querySelectorAll(".source.open").forEach(other => other.classList.remove("open"));
  card.classList.add("open");
  panel.classList.add("sheet-open");
  card.focus({ preventScroll: true });
  card.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function closeSources() {
  document.getElementById("sources")?.classList.remove("sheet-open");
}

document.addEventListener("click", event => {
  const target = event.target.closest("a.cite, .close-sources, [data-copy], [data-send]");
  if (!target) return;
  if (target.matches("a.cite")) {
    event.preventDefault();
    const card = document.getElementById(target.hash.slice(1));
    if (card) openSource(card);
  } else if (target.matches(".close-sources")) {
    closeSources();
  } else if (target.matches("[data-copy]")) {
    navigator.clipboard.writeText(target.dataset.copy).then(() => { target.textContent = "Copied"; });
  } else if (!target.dataset.confirm || confirm(target.dataset.confirm)) {
    send(target, { action: target.dataset.send, id: target.dataset.id });
  }
});

document.addEventListener("keydown", event => {
  if (event.key === "Escape") closeSources();
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  const question = document.querySelector("#ask textarea");
  if (question) { event.preventDefault(); question.focus(); }
});

// Upload: straight to our own address; the accepted jobs go to Python, which follows them.
function uploadBody(form) {
  const body = new FormData();
  for (const file of form.elements.files.files) body.append("files", file);
  for (const url of form.elements.urls.value.split(/\s+/)) if (url) body.append("urls", url);
  body.append("access_level", form.elements.access_level.value);
  return body;
}

function showMessage(form, lines) {
  const message = form.querySelector("#upload-message");
  message.className = lines.length ? "alert" : "";
  message.textContent = lines.join("\n");
}

async function upload(form) {
  const body = uploadBody(form);
  if (!body.has("files") && !body.has("urls")) return showMessage(form, ["Choose a file or give a web address."]);
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  showMessage(form, []);
  try {
    const headers = { "X-CSRF-Token": document.querySelector("[name=csrf]")?.value ?? "" };
    const response = await fetch("/documents", { method: "POST", headers, body });
    if (response.status === 401) return location.assign("/login?expired=true");
    const answer = await response.json();
    if (!response.ok) return showMessage(form, problemLines(answer));
    send(form, { jobs: answer.jobs });
    form.reset();
  } catch {
    showMessage(form, ["The upload did not get through. Try again."]);
  } finally {
    button.disabled = false;
  }
}

function problemLines(problem) {
  const fields = (problem.errors ?? []).map(error => `${error.field}: ${error.message}`);
  return [problem.detail || problem.title || "The upload was refused.", ...fields];
}

document.addEventListener("submit", event => {
  if (event.target.id !== "upload-form") return;
  event.preventDefault();
  upload(event.target);
});

// Histogram: press on one bar, release on another; a click or Enter takes one bar.
let pressed = null;
const barAt = event => document.elementFromPoint(event.clientX, event.clientY)?.closest(".bars button");

document.addEventListener("pointerdown", event => {
  pressed = barAt(event) ?? null;
  if (pressed) event.preventDefault();
});

document.addEventListener("pointermove", event => {
  const bar = pressed && barAt(event);
  if (bar) markBars(pressed, bar);
});

document.addEventListener("pointerup", event => {
  const bar = barAt(event);
  if (pressed && bar) narrowTo(pressed, bar);
  pressed = null;
});

document.addEventListener("keyup", event => {
  const bar = event.key === "Enter" && event.target.closest?.(".bars button");
  if (bar) narrowTo(bar, bar);
});

const inOrder = (one, other) => (one.dataset.from <= other.dataset.from ? [one, other] : [other, one]);

function markBars(one, other) {
  const [first, last] = inOrder(one, other);
  for (const bar of one.parentElement.children) {
    bar.classList.toggle("marked", bar.dataset.from >= first.dataset.from && bar.dataset.to <= last.dataset.to);
  }
}

function narrowTo(one, other) {
  const [first, last] = inOrder(one, other);
  send(first, { from: first.dataset.from, to: last.dataset.to });
}

// What is drawn anew: stay at the end of an answer that grows, and leave when the session has ended.
let leaving = false;

function followAnswer(mutations) {
  const grows = mutations.some(mutation => mutation.target.nodeType === 1 && mutation.target.closest("#live .turn"));
  const distance = document.documentElement.scrollHeight - innerHeight - scrollY;
  if (grows && distance < 240) scrollTo({ top: document.documentElement.scrollHeight });
  if (!leaving && document.querySelector("[data-signed-out]")) {
    leaving = true; // a moment later: Gradio calls it an error to leave while an event ends
    setTimeout(() => location.assign("/login?expired=true"), 500);
  }
}

new MutationObserver(followAnswer).observe(document.documentElement, { childList: true, subtree: true });
