// Thumbnails, jobs with their pictures, and what a record says of its settings.

import { api, attempt, duration, h, label, query, t, told, whyUnseen } from "./kit.js";
import * as state from "./state.js";

export const go = (place, values = {}) => {
  const more = query(values);
  location.hash = `#/${place}${more ? `?${more}` : ""}`;
};

/** A thumbnail that opens; it loads as it is scrolled to. */
export function tile(id, siblings) {
  const address = `/api/v1/results/${id}/thumbnail?side=256`;
  const image = h("img", {
    src: address,
    alt: t("Picture {id}", { id: String(id) }),
    loading: "lazy",
    decoding: "async",
    width: 256,
    height: 256,
  });
  const button = h(
    "button",
    {
      type: "button",
      class: "tile",
      tabindex: "-1",
      "data-id": String(id),
      onclick: () => openResult(id, siblings),
    },
    image,
  );
  image.addEventListener("error", async () => {
    const fault = await whyUnseen(address);
    button.classList.add("missing");
    button.replaceChildren(h("span", {}, fault));
  });
  return button;
}

/** A grid of tiles: one stop of the Tab key, arrows go from tile to tile. */
export function tileGrid(title, props = {}) {
  const grid = h("div", { class: "tiles", role: "group", "aria-label": title, ...props });
  grid.addEventListener("keydown", (event) => {
    const tiles = [...grid.querySelectorAll("button.tile")];
    const at = tiles.indexOf(document.activeElement);
    if (at < 0) return;
    const top = tiles[at].getBoundingClientRect().top;
    const perRow = tiles.filter((one) => one.getBoundingClientRect().top === top).length || 1;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -perRow, ArrowDown: perRow }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    tiles[Math.min(tiles.length - 1, Math.max(0, at + step))].focus();
  });
  grid.addEventListener("focusin", (event) => {
    for (const one of grid.querySelectorAll('button.tile[tabindex="0"]')) one.tabIndex = -1;
    if (event.target.matches("button.tile")) event.target.tabIndex = 0;
  });
  return grid;
}

/** Make the first tile the one that the Tab key reaches, where none is. */
export function reachable(grid) {
  if (!grid.querySelector('button.tile[tabindex="0"]')) {
    const first = grid.querySelector("button.tile");
    if (first) first.tabIndex = 0;
  }
}

// ---------------------------------------------------------------- settings and names

/** Open a result in the viewer, which is fetched when it is first needed. */
export async function openResult(id, siblings) {
  const viewer = await attempt(() => import("./viewer.js"));
  await viewer?.openResult(id, siblings);
}

/** The choices that made a result, as the server reads its record: a copy, to be changed. */
export function choicesOf({ result, choices }) {
  if (!choices) throw new Error(t("The record of picture {id} does not say with which settings it was made.", { id: String(result.id) }));
  return structuredClone(choices);
}

const OWN = {
  "shipped-sketch": "Atelier’s own, also from drawings",
  "shipped-sketch-128": "Atelier’s own, at 128×128",
  shipped: "Atelier’s own, quick",
};

/** What a person called it, else what it learnt from: "0007-vae-Cats" is "Cats · vae 7". */
export function modelName({ title, name, family, dataset_name: learnt }) {
  if (title) return title;
  const [number] = name.split(`-${family}-`, 1);
  if (/^\d+$/.test(number)) return `${learnt} · ${family} ${Number(number)}`;
  return `${OWN[name] ? t(OWN[name]) : name} · ${learnt}`;
}

// ---------------------------------------------------------------- a job and its pictures

/** What a job is, in a line. */
export function summary(job) {
  const { order } = job;
  if (job.kind === "generate") {
    const wished = order.choices.generate;
    const what = wished.seeds
      ? t("seeds {seeds}", { seeds: wished.seeds.length > 40 ? `${wished.seeds.slice(0, 40)}…` : wished.seeds })
      : t("{n} pictures", { n: wished.count });
    return [what, wished.style, nameOf(order.model)].filter(Boolean).join(" · ");
  }
  if (job.kind === "interpolate") return [order.between, nameOf(order.model)].join(" · ");
  if (job.kind === "enhance") {
    return t("{n} pictures", { n: order.uploads.length + order.results.length }) + ` · ×${order.enhance.scale}`;
  }
  if (["replay", "verify"].includes(job.kind)) {
    return t("{n} pictures", { n: (order.uploads?.length ?? 0) + order.results.length });
  }
  const named = (id) => state.collections.find((one) => one.id === id)?.name ?? id;
  const measured = order.model ? nameOf(order.model) : order.generated && named(order.generated);
  return [measured, named(order.collection), order.preset].filter(Boolean).join(" · ");
}

const nameOf = (id) => {
  const model = state.modelById(id);
  return model ? modelName(model) : id;
};

export const KINDS = {
  generate: "Generation",
  interpolate: "Interpolation",
  enhance: "Enlargement",
  inspect: "Inspection",
  train: "Training",
  replay: "Replay",
  verify: "Verification",
  evaluate: "Evaluation",
};

export const STATES = {
  waiting: "Waiting",
  running: "Running",
  stopping: "Stopping",
  paused: "Paused",
  done: "Done",
  failed: "Failed",
  cancelled: "Stopped",
};

/** "Make images · 12 of 100 · about 40 s left". */
export function progressLine(job) {
  const { progress } = job;
  if (!progress) return t("Starting…");
  const total = progress.total;
  const isOver = total && progress.done >= total;
  const isOne = progress.unit === "steps"; // of a few pictures at a time: how long all take is not known
  if (progress.stage === "train" && isOver) return t("It has learnt; its pictures are measured now, and the model is kept.");
  const amount = (n) => (progress.unit === "seconds" ? Math.round(n) : Math.floor(n));
  const far = total
    ? t("{done} of {total} {unit}", { done: amount(progress.done), total: amount(total), unit: t(progress.unit) })
    : progress.done ? `${amount(progress.done).toLocaleString()} ${t(progress.unit)}` : null;
  const next = state.makesPictures(job) && !isOne ? null : t("then comes the next step");
  const left = isOver ? next : progress.seconds_left === null || isOne ? null : t("about {time} left", { time: duration(progress.seconds_left) });
  return [label(progress.stage), far, left].filter(Boolean).join(" · ");
}

/** Put an element to its place among its like; what has the focus in it keeps it. */
export function put(parent, element, at) {
  if (parent.children[at] === element) return;
  const active = document.activeElement;
  parent.insertBefore(element, parent.children[at] ?? null);
  if (element.contains(active)) active.focus();
}

/** A job's head: what, state, progress, and its stops. It keeps its elements, so focus stays. */
export function jobHead() {
  const badge = h("span", { class: "badge" });
  const title = h("h3", { tabindex: "-1" }); // where the keyboard is left when the buttons go
  const bar = h("progress", { "aria-label": t("Progress") });
  const line = h("p", { class: "line" });
  const note = h("p", { class: "note" });
  const fault = h("p", { class: "fault", role: "alert" });
  const buttons = h("div", { class: "stops" });
  let shown = "";
  let job = null;
  const act = (path) => () => attempt(async () => state.take(await api(`jobs/${job.id}/${path}`, { method: "POST" })));
  const button = (text, path, title) => h("button", { type: "button", title, onclick: act(path) }, text);
  const element = h("div", { class: "job-head" }, h("div", { class: "names" }, badge, title, buttons), bar, line, note, fault);

  const update = (next) => {
    job = next;
    const isActive = state.isActive(job);
    element.dataset.state = job.state;
    badge.textContent = t(STATES[job.state]) + (job.position ? ` · ${job.position}` : "");
    title.textContent = `${t(KINDS[job.kind])} ${job.id} · ${summary(job)}`;
    bar.hidden = line.hidden = !isActive;
    const total = job.progress?.total;
    if (total) (bar.max = total), (bar.value = Math.min(total, job.progress.done));
    else bar.removeAttribute("value");
    line.textContent = progressLine(job);
    note.hidden = !isActive || !job.progress?.note;
    note.textContent = told(job.progress?.note ?? "");
    fault.hidden = !job.error;
    fault.textContent = told(job.error ?? "");
    const key = `${job.state} ${job.stop} ${job.progress?.stage}`;
    if (key === shown) return;
    shown = key;
    const had = element.contains(document.activeElement);
    buttons.replaceChildren(...stops());
    if (had) (buttons.querySelector("button") ?? title).focus();
  };

  function stops() {
    const pause = () => button(t("Pause"), "pause", t("Stop and resume later"));
    const after = () => button(t("Stop after this image"), "finish-image");
    const now = () => button(t("Stop now"), "cancel");
    const keep = () => button(t("Stop and keep the model"), "finish-image", t("It learns no more; the model is as good as it is now"));
    const isLearning = job.kind === "train" && job.progress?.stage === "train";
    if (job.state === "running") return [pause(), ...(state.makesPictures(job) ? [after()] : isLearning ? [keep()] : []), now()];
    if (job.state === "stopping") return job.stop === "now" ? [] : [button(t("Resume"), "resume"), now()];
    if (job.state === "waiting") return [button(t("Remove"), "cancel")];
    if (job.state === "paused") return [button(t("Resume"), "resume"), button(t("Remove"), "cancel")];
    if (job.state === "failed" || job.state === "cancelled") return [button(t("Resume"), "resume")];
    return [];
  }
  return { element, update };
}

/** A job with its pictures, which appear as they are made. */
export function jobCard(first) {
  const head = jobHead();
  const grid = tileGrid(t("Pictures of job {id}", { id: String(first.id) }));
  const all = h("button", { type: "button", class: "link" });
  const element = h("article", { class: "card job" }, head.element, grid, all);
  const tiles = new Map();
  let job = first;
  const ids = () => job.results.filter((id) => !state.isHidden(id)).slice(-100);
  all.addEventListener("click", () => go("gallery", { run: job.run }));

  const update = (next) => {
    job = next;
    head.update(job);
    const now = ids();
    for (const [id, one] of tiles) {
      if (!now.includes(id)) one.remove(), tiles.delete(id);
    }
    for (const id of now) {
      if (!tiles.has(id)) tiles.set(id, tile(id, ids));
    }
    const isOpen = !state.ENDED.has(job.state);
    const total = Math.min(100, wanted(job));
    const missing = isOpen ? Math.max(0, total - job.num_results) : 0;
    const blanks = Array.from({ length: missing }, () => h("div", { class: "tile blank", "aria-hidden": "true" }));
    const old = [...grid.children];
    const want = [...now.map((id) => tiles.get(id))];
    if (old.length !== want.length + missing || want.some((one, n) => old[n] !== one)) {
      const active = document.activeElement;
      grid.replaceChildren(...want, ...blanks);
      if (grid.contains(active)) active.focus();
      reachable(grid);
    }
    all.hidden = job.num_results <= 100;
    all.textContent = t("Show all {n} in the gallery", { n: job.num_results });
  };
  return { element, update };
}

function wanted(job) {
  const { order } = job;
  if (job.progress?.total && job.progress.unit === "images") return job.progress.total;
  if (job.kind === "generate") return order.choices.generate.seeds ? numSeeds(order.choices.generate.seeds) : order.choices.generate.count;
  if (job.kind === "enhance") return order.uploads.length + order.results.length;
  return 0;
}

function numSeeds(text) {
  return String(text).split(",").reduce((sum, part) => {
    const [low, high] = part.split("-").map(Number);
    return sum + (high === undefined ? 1 : high - low + 1);
  }, 0);
}

/** Cards of the newest jobs that `fits` holds for; they stay in step with the server. */
export function jobCards(fits, most = 3, empty = null) {
  const element = h("div", { class: "cards" });
  const cards = new Map();
  const update = () => {
    const newest = state.newestFirst().filter(fits);
    const open = newest.filter((job) => !state.ENDED.has(job.state) && job.state !== "paused");
    const shown = [...new Set([...open.slice(-most).reverse(), ...newest.slice(0, most)])]
      .sort((a, b) => b.id - a.id)
      .slice(0, most + 2);
    for (const [id, card] of cards) {
      if (!shown.some((job) => job.id === id)) card.element.remove(), cards.delete(id);
    }
    for (const job of shown) {
      if (!cards.has(job.id)) cards.set(job.id, jobCard(job));
      cards.get(job.id).update(job);
    }
    shown.forEach((job, n) => {
      const card = cards.get(job.id).element;
      put(element, card, n);
    });
    if (empty) empty.hidden = shown.length > 0;
  };
  document.addEventListener("results-changed", update);
  return { element, update };
}
