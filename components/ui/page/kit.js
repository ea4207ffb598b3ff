// Small tools that every part of the page uses: elements, words, the API.

/** An element: h("button", { class: "main", onclick: go }, "Go"). */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// ---------------------------------------------------------------- words

export const LANGUAGES = { en: "English", uk: "Українська" };

let catalogue = {};
let sayings = []; // what the server says, as [pattern, text] pairs
let plurals = new Intl.PluralRules("en");
export let language = "en";

/** The language that was chosen before, else the browser's where there is a catalogue. */
export async function loadWords() {
  const wished = [remembered("language"), ...navigator.languages.map((l) => l.slice(0, 2))];
  language = wished.find((name) => name in LANGUAGES) ?? "en";
  const words = async (name) => (await fetch(`/assets/${name}.json`)).json();
  catalogue = await words(language);
  if (language !== "en") sayings = Object.entries(await words(`${language}-server`)).map(([line, text]) => [patternOf(line), text]);
  plurals = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

/** A text in the person's language; {name} is filled in, `n` chooses the plural. */
export function t(text, values = {}) {
  let found = catalogue[text] ?? text;
  if (typeof found === "object") found = found[plurals.select(values.n)] ?? found.other;
  return found.replace(/\{(\w+)\}/g, (whole, name) =>
    name in values ? shown(values[name]) : whole,
  );
}

const shown = (value) => (typeof value === "number" ? value.toLocaleString(language) : value);

/** "job {id}: there is none" => what such lines match, with the gaps as named groups. */
function patternOf(line) {
  const parts = line.split(/\{(\w+)\}/).map((part, n) => (n % 2 ? `(?<${part}>.+)` : part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")));
  return new RegExp(`^${parts.join("")}$`);
}

/** What the server said, in the person's language where the line is known; else as it was said. */
export function told(line) {
  for (const [pattern, text] of sayings) {
    const found = pattern.exec(line);
    if (found) return text.replace(/\{(\w+)\}/g, (_, name) => told(found.groups[name]));
  }
  return line;
}

/** "Style Blend" or "style_blend" => "Style blend", in the person's language. */
export function label(name) {
  const words = name.replaceAll("_", " ").toLowerCase();
  return t(words.charAt(0).toUpperCase() + words.slice(1));
}

export function duration(seconds) {
  if (seconds < 90) return t("{n} s", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return t("{n} min", { n: Math.round(seconds / 60) });
  return t("{n} h", { n: Math.round(seconds / 360) / 10 });
}

export function when(text) {
  return new Date(text).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}

/** The key of an event, in lower case; a letter is that of its place where other letters are typed. */
export const keyOf = ({ key, code }) =>
  (/^[a-z]$/i.test(key) || !/^Key[A-Z]$/.test(code) ? key : code[3]).toLowerCase();

// ---------------------------------------------------------------- what this browser remembers

export function remembered(name) {
  try {
    return JSON.parse(localStorage.getItem(`atelier.${name}`));
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`atelier.${name}`, JSON.stringify(value));
  } catch {
    // A private window may keep nothing; the page works without.
  }
}

// ---------------------------------------------------------------- the pointer

let isPressed = false;
const waiting = []; // to go on when it is let go

/** What changes the layout waits for this: a click is lost whose place moves before it ends. */
export const released = () => (isPressed ? new Promise((go) => waiting.push(go)) : Promise.resolve());

function letGo() {
  isPressed = false;
  // A click follows the release, and is to find its place as it was.
  setTimeout(() => waiting.splice(0).forEach((go) => go()));
}

addEventListener("pointerdown", () => (isPressed = true), true);
for (const end of ["pointerup", "pointercancel", "dragend"]) addEventListener(end, letGo, true);
addEventListener("blur", letGo); // of the window itself, in which a release would not be heard

// ---------------------------------------------------------------- the API

class UnansweredError extends Error {
  constructor() {
    super(t("The server does not answer; is it still running?"));
  }
}

/** An answer and its whole text. */
async function fetched(path, options) {
  try {
    const answer = await fetch(`/api/v1/${path}`, options);
    return [answer, await answer.text()];
  } catch {
    throw new UnansweredError();
  }
}

/** What a text says; undefined where it is no JSON. */
function parsed(text) {
  // Seeds reach 2^63 and a JavaScript number only 2^53: long ones stay text.
  const whole = text.replace(/"(seed|sum)":\s*(\d{16,})/g, '"$1":"$2"');
  try {
    return whole ? JSON.parse(whole) : null;
  } catch {
    return undefined;
  }
}

/** One call => its JSON. Throws an Error with the server's one line and, where it answered, its status. */
export async function api(path, { method = "GET", json, body, headers = {} } = {}) {
  const [answer, text] = await fetched(path, {
    method,
    headers: json === undefined ? headers : { "Content-Type": "application/json", ...headers },
    body: json === undefined ? body : JSON.stringify(json),
  });
  if (answer.status === 401) location.assign("/login");
  const data = parsed(text);
  // Half an answer is none, and neither is the page of a proxy that could not get one.
  if (data === undefined && (answer.ok || [502, 503, 504].includes(answer.status))) throw new UnansweredError();
  if (!answer.ok) throw Object.assign(new Error(told(data?.error ?? `${answer.status}`)), { status: answer.status });
  return data;
}

const PATIENCE_MILLISECONDS = [300, 1500];
let unanswered = null; // the last order that was given up, as { text, key }

/** Put an order into the queue; one whose answer is lost is sent again, and makes no second job. */
export async function submit(order) {
  const text = JSON.stringify(order);
  // Whoever presses again after the last try wants the same job, which may be there already.
  const key = unanswered?.text === text ? unanswered.key : [...crypto.getRandomValues(new Uint8Array(16))].join("");
  unanswered = null;
  const send = () => api("jobs", { method: "POST", json: order, headers: { "Idempotency-Key": key } });
  for (const pause of [...PATIENCE_MILLISECONDS, null]) {
    try {
      return await send();
    } catch (error) {
      if (!(error instanceof UnansweredError)) throw error;
      if (pause === null) {
        unanswered = { text, key };
        throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/** Why a picture at this address is not seen, in a few words. */
export async function whyUnseen(address) {
  const answer = await fetch(address).catch(() => null);
  return answer?.status === 404 ? t("The file is gone") : t("Cannot be shown now");
}

/** A seed drawn by lot, short enough to be read out. */
export const drawnSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

/** The file of this digest among those that were sent here; undefined where it is gone. */
export async function sentFile(sha256) {
  const [sent] = await api(`uploads?sha256=${sha256}`);
  return sent;
}

export async function upload(blob, name) {
  return api(`uploads?name=${encodeURIComponent(name)}`, { method: "POST", body: blob });
}

/** {a: 1, b: null} => "a=1", for an address. */
export function query(values) {
  const given = Object.entries(values).filter(([, v]) => v !== null && v !== undefined && v !== "");
  return new URLSearchParams(given.map(([k, v]) => [k, String(v)])).toString();
}

// ---------------------------------------------------------------- telling

/** A line that goes away by itself; `undo` offers to take it back. */
export function toast(text, { kind = "", action, act } = {}) {
  const close = () => line.remove();
  const line = h(
    "div",
    { class: `toast ${kind}` },
    h("span", {}, text),
    action && h("button", { type: "button", onclick: () => (close(), act()) }, action),
    h("button", { type: "button", class: "quiet", "aria-label": t("Close"), onclick: close }, "×"),
  );
  const toasts = document.getElementById("toasts");
  // An open dialog lies over the page and takes its clicks: the lines go where they are reached.
  const dialog = document.querySelector("dialog[open]");
  if (dialog && !dialog.contains(toasts)) {
    dialog.append(toasts);
    dialog.addEventListener("close", () => document.body.append(toasts), { once: true });
  }
  // The newest can be undone here, those before it by Ctrl-Z: many would cover what they are about.
  if (action) for (const one of toasts.querySelectorAll(".undoable")) one.remove();
  line.classList.toggle("undoable", Boolean(action));
  toasts.append(line);
  setTimeout(close, action || kind === "bad" ? 12000 : 5000);
}

/** Do something; what goes wrong is told in a line. */
export async function attempt(what) {
  try {
    return await what();
  } catch (error) {
    toast(error.message, { kind: "bad" });
    return undefined;
  }
}
