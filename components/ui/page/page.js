// The frame: navigation, language, theme, and which part is shown.

import { attempt, h, language, LANGUAGES, loadWords, remember, remembered, t } from "./kit.js";
import * as state from "./state.js";
import { KINDS, STATES } from "./pictures.js";

const PARTS = {
  generate: ["Generate", () => import("./generate.js")],
  sketch: ["Sketch", () => import("./sketch.js")],
  enlarge: ["Enlarge", () => import("./enlarge.js")],
  train: ["Train", () => import("./train.js")],
  models: ["Models", () => import("./models.js")],
  gallery: ["Gallery", () => import("./gallery.js")],
  check: ["Check", () => import("./check.js")],
  jobs: ["Jobs", () => import("./jobs.js")],
};

// Reached from another part, under which the navigation shows it.
const WITHIN = { collections: ["Collection", () => import("./collections.js"), "train"] };
const places = { ...PARTS, ...WITHIN };

const views = new Map();
const main = h("main", { id: "main", tabindex: "-1" });
const links = new Map();
const health = h("a", { class: "health", href: "#/jobs" });
let current = null;
let shownTurn = 0;
let title = "";

const theme = remembered("theme");
if (theme) document.documentElement.dataset.theme = theme;

start();

async function start() {
  await loadWords();
  document.getElementById("root").replaceChildren(frame());
  try {
    await state.load();
  } catch (error) {
    main.replaceChildren(h("p", { class: "fault", role: "alert" }, error.message));
    return;
  }
  addEventListener("hashchange", show);
  state.onChange(update);
  show();
}

function frame() {
  const nav = h("nav", { "aria-label": t("Parts of the page") });
  for (const [name, [title]] of Object.entries(PARTS)) {
    links.set(name, h("a", { href: `#/${name}` }, t(title)));
    nav.append(links.get(name));
  }
  const chooseLanguage = h(
    "select",
    { "aria-label": t("Language"), onchange: (event) => (remember("language", event.target.value), location.reload()) },
    Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, selected: code === language }, name)),
  );
  return h(
    "div",
    { class: "frame" },
    h("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), main.focus()) }, t("Skip to the content")),
    h(
      "header",
      { class: "top" },
      h("h1", {}, "Atelier"),
      nav,
      h("div", { class: "tools" }, health, chooseLanguage, h("button", { type: "button", class: "quiet theme", "aria-label": t("Dark or light"), onclick: turnTheme }, "◐")),
    ),
    main,
  );
}

function turnTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  remember("theme", root.dataset.theme);
}

async function show() {
  const [, name = "", values = ""] = /^#\/(\w+)\??(.*)$/.exec(location.hash) ?? [];
  const chosen = name in places ? name : "generate";
  const turn = ++shownTurn;
  if (!views.has(chosen)) {
    const module = await attempt(places[chosen][1]);
    if (!module) return;
    if (!views.has(chosen)) views.set(chosen, module.create());
  }
  if (turn !== shownTurn) return;
  const view = views.get(chosen);
  if (current !== view) {
    main.replaceChildren(view.element);
    current = view;
    scrollTo(0, 0);
  }
  for (const [part, link] of links) {
    const isHere = part === (places[chosen][2] ?? chosen);
    if (!isHere) link.removeAttribute("aria-current");
    else link.setAttribute("aria-current", "page"), link.scrollIntoView({ inline: "nearest", block: "nearest" });
  }
  title = t(places[chosen][0]);
  view.show?.(Object.fromEntries(new URLSearchParams(values)));
  update();
}

function update() {
  const all = [...state.jobs.values()];
  const running = all.filter(state.isActive).length;
  const waiting = all.filter((job) => job.state === "waiting").length;
  health.dataset.state = !state.isConnected ? "lost" : running ? "busy" : "idle";
  health.textContent = !state.isConnected
    ? t("Not connected")
    : running || waiting
      ? [t("{n} running", { n: running }), ...(waiting ? [t("{n} waiting", { n: waiting })] : [])].join(", ")
      : t("Idle");
  tellEnds(all);
  current?.update?.();
}

const lastStates = new Map();
let unseen = 0; // jobs that ended while nobody looked

/** Whoever looks elsewhere is told in the tab's title, and by a notification where they agreed. */
function tellEnds(all) {
  for (const job of all) {
    const before = lastStates.get(job.id);
    lastStates.set(job.id, job.state);
    if (!document.hidden || !before || state.ENDED.has(before) || !["done", "failed"].includes(job.state)) continue;
    unseen += 1;
    if (job.kind === "train" && window.Notification?.permission === "granted") new Notification("Atelier", { body: `${t(KINDS[job.kind])}: ${t(STATES[job.state])}` });
  }
  document.title = `${unseen ? `(${unseen}) ` : ""}${title} · Atelier`;
}

addEventListener("visibilitychange", () => {
  if (!document.hidden) unseen = 0;
  update();
});

addEventListener("keydown", async (event) => {
  if (event.key !== "?" || event.target.closest("input, textarea, select")) return;
  (await import("./shortcuts.js")).showShortcuts();
});
