// Thumbnails, and one result opened: its record and what can be done with it.

import { api, attempt, duration, h, label, query, submit, t, toast, when } from "./kit.js";
import * as state from "./state.js";

export const go = (place, values = {}) => {
  const more = query(values);
  location.hash = `#/${place}${more ? `?${more}` : ""}`;
};

/** A thumbnail that opens; it loads as it is scrolled to. */
export function tile(id, siblings) {
  const image = h("img", {
    src: `/api/results/${id}/thumbnail?side=256`,
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
  image.addEventListener("error", () => {
    button.classList.add("missing");
    button.replaceChildren(h("span", {}, t("The file is gone")));
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

// ---------------------------------------------------------------- one result

const inside = h("div", { class: "inside" });
const viewer = h("dialog", { class: "viewer", "aria-labelledby": "viewer-title" }, inside);
let place = { id: 0, siblings: () => [] };

viewer.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea")) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
  if (event.key === "Delete" && !viewer.querySelector(".restore")) viewer.querySelector(".danger")?.click();
});
viewer.addEventListener("click", (event) => {
  if (event.target === viewer) viewer.close(); // beside it: `inside` covers the rest
});
viewer.addEventListener("close", () => {
  document.querySelector(`button.tile[data-id="${place.id}"]`)?.focus();
});

/** What the arrow keys go through: all but the deleted, unless those were searched for. */
const around = () => place.siblings().filter((id) => place.siblings.isDeleted || !state.isHidden(id));

function step(by) {
  const ids = around();
  const next = ids[ids.indexOf(place.id) + by];
  if (next !== undefined) turnTo(next);
}

/** Another one in the open dialog, unless it is closed before the answer is here. */
async function turnTo(id) {
  const found = await attempt(() => api(`results/${id}`));
  if (found && viewer.open) showResult(found, place.siblings);
}

/** Show one result; `siblings()` are the ids that the arrow keys go through. */
export async function openResult(id, siblings = () => []) {
  const found = await attempt(() => api(`results/${id}`));
  if (!found) return;
  if (!viewer.isConnected) document.body.append(viewer);
  showResult(found, siblings);
  if (!viewer.open) viewer.showModal();
}

function showResult(found, siblings) {
  place = { id: found.result.id, siblings };
  inside.replaceChildren(...contents(found));
}

function contents(found) {
  const { result } = found;
  const { record } = result;
  const { origin } = record;
  const title =
    origin.kind === "generated" ? t("Seed {seed}", { seed: String(origin.seed) }) : origin.name;
  const picture = found.is_missing
    ? h("p", { class: "gone" }, t("The file was removed from the disk."))
    : h("img", { src: found.file, alt: t("Picture {id}", { id: String(result.id) }), class: result.width < 400 ? "small" : "" });
  return [
    h(
      "div",
      { class: "stage" },
      picture,
      h("button", { type: "button", class: "turn back", "aria-label": t("Previous picture"), onclick: () => step(-1) }, "‹"),
      h("button", { type: "button", class: "turn on", "aria-label": t("Next picture"), onclick: () => step(1) }, "›"),
    ),
    h(
      "div",
      { class: "side" },
      h(
        "header",
        {},
        h("h2", { id: "viewer-title" }, title),
        h("button", { type: "button", class: "quiet close", "aria-label": t("Close"), onclick: () => viewer.close() }, "×"),
      ),
      facts(result),
      found.is_missing ? null : actions(found),
      h(
        "details",
        { class: "more" },
        h("summary", {}, t("The whole record")),
        h("pre", { tabindex: "0" }, JSON.stringify(result, null, 2)),
      ),
      removal(result.id),
    ),
  ];
}

function facts(result) {
  const { record } = result;
  const { origin, enhancement } = record;
  const isMade = origin.kind === "generated";
  const styles = [origin.style, origin.towards_style].filter(Boolean).join(" → ");
  const rows = [
    [t("Size"), `${result.width} × ${result.height}`],
    [t("Family"), isMade && origin.family],
    [t("Collection"), isMade && origin.dataset_name],
    [t("Style"), styles],
    [t("Prompt"), origin.prompt],
    [t("Enlarged"), enhancement.scale > 1 ? `×${enhancement.scale}, ${enhancement.enhancer}` : t("no")],
    [t("Drift"), record.drift === null ? null : t("{n} of 255", { n: Math.round(record.drift * 100) / 100 })],
    [t("Originality"), isMade && origin.originality !== null ? origin.originality?.toFixed(2) : null],
    [t("Kept"), when(result.kept_at)],
    [t("Run"), result.run],
  ];
  const list = h("dl", { class: "facts" });
  for (const [name, value] of rows) {
    if (value) list.append(h("dt", {}, name), h("dd", {}, String(value)));
  }
  return list;
}

function actions(found) {
  const { result } = found;
  const isMade = result.record.origin.kind === "generated";
  const formats = state.schema.sections.convert.properties.format.enum;
  const kept = result.media_type.replace("image/", "");
  const format = h("select", { "aria-label": t("Format") }, formats.map((one) => h("option", { selected: one === kept }, one)));
  const leave = (what) => () => (viewer.close(), what());
  return h(
    "div",
    { class: "actions" },
    h(
      "div",
      { class: "pair" },
      h(
        "button",
        {
          type: "button",
          class: "main",
          onclick: () => h("a", { href: `${found.file}?${query({ download: true, format: format.value })}`, download: "" }).click(),
        },
        t("Download"),
      ),
      format,
    ),
    isMade && h("button", { type: "button", onclick: leave(() => go("generate", { like: result.id })) }, t("Use these settings")),
    isMade && otherModel(result),
    h("button", { type: "button", onclick: leave(() => go("sketch", { from: result.id })) }, t("Send to Sketch")),
    h("button", { type: "button", onclick: leave(() => go("compare", { result: result.id })) }, t("Compare")),
  );
}

function otherModel(result) {
  const { origin } = result.record;
  const others = state.models.filter((model) => model.digest !== origin.model_digest && !model.needs.length);
  if (!others.length) return null;
  const which = h("select", { "aria-label": t("Other model") }, others.map((model) => h("option", { value: model.id }, modelName(model))));
  const order = async () => {
    const model = state.modelById(which.value);
    const settings = settingsOf(result);
    if (!model.styles.includes(settings.generate.style)) delete settings.generate.style;
    if (!model.styles.includes(settings.generate.towards_style)) delete settings.generate.towards_style;
    if (model.family !== origin.family) delete settings.generate.options;
    delete settings.generate.prompt;
    await submit({ kind: "generate", model: model.id, choices: settings });
    viewer.close();
    go("generate");
  };
  return h(
    "div",
    { class: "pair" },
    h("button", { type: "button", onclick: () => attempt(order) }, t("Same seed, other model")),
    which,
  );
}

function removal(id) {
  const later = (path, method) => api(`results/${id}${path}`, { method });
  const bringBack = async () => {
    await later("/restore", "POST");
    state.hide(id, false);
    toast(t("It is back."));
  };
  const remove = async () => {
    const ids = around();
    const next = ids[ids.indexOf(id) + 1] ?? ids[ids.indexOf(id) - 1];
    await later("", "DELETE");
    state.hide(id, true);
    toast(t("Deleted; the file is removed for good in a week."), { action: t("Undo"), act: () => attempt(bringBack) });
    if (next === undefined) viewer.close();
    else turnTo(next);
  };
  return state.isHidden(id) || place.siblings.isDeleted
    ? h("button", { type: "button", class: "restore", onclick: () => attempt(async () => (await bringBack(), viewer.close())) }, t("Restore"))
    : h("button", { type: "button", class: "danger", onclick: () => attempt(remove) }, t("Delete"));
}

/** The three settings contracts that made a result, as far as its record tells. */
export function settingsOf(result) {
  const { origin, enhancement, conversion } = result.record;
  const generate = { seeds: String(origin.seed), options: origin.options ?? {} };
  for (const name of ["style", "towards_style", "style_blend", "prompt"]) {
    if (origin[name] !== null && origin[name] !== undefined) generate[name] = origin[name];
  }
  const { scale, strength, denoise } = enhancement;
  const enhance = { scale, strength, denoise };
  if (scale > 1) enhance.enhancer = enhancement.enhancer;
  return { generate, enhance, convert: conversion };
}

export function modelName(model) {
  return `${model.name.startsWith("shipped") ? t("Atelier’s own") : model.name} · ${model.family} · ${model.dataset_name}`;
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
    return [what, wished.style, shortModel(order.model)].filter(Boolean).join(" · ");
  }
  if (job.kind === "interpolate") return [order.between, shortModel(order.model)].join(" · ");
  if (job.kind === "enhance") {
    return t("{n} pictures", { n: order.uploads.length + order.results.length }) + ` · ×${order.enhance.scale}`;
  }
  const collection = state.collections.find((one) => one.id === order.collection);
  return [collection?.name ?? order.collection, order.preset].filter(Boolean).join(" · ");
}

const shortModel = (id) => {
  const model = state.modelById(id);
  return model ? `${model.family} · ${model.dataset_name}` : id;
};

export const KINDS = {
  generate: "Generation",
  interpolate: "Interpolation",
  enhance: "Enlargement",
  inspect: "Inspection",
  train: "Training",
};

const STATES = {
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
  const amount = (n) => (progress.unit === "seconds" ? Math.round(n) : Math.floor(n));
  const far = total
    ? t("{done} of {total} {unit}", { done: amount(progress.done), total: amount(total), unit: t(progress.unit) })
    : progress.done ? `${amount(progress.done).toLocaleString()} ${t(progress.unit)}` : null;
  const left = progress.seconds_left === null ? null : t("about {time} left", { time: duration(progress.seconds_left) });
  return [label(progress.stage), far, left].filter(Boolean).join(" · ");
}

/** A job's head: what, state, progress, and its stops. It keeps its elements, so focus stays. */
export function jobHead() {
  const badge = h("span", { class: "badge" });
  const title = h("h3");
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
    note.textContent = job.progress?.note ?? "";
    fault.hidden = !job.error;
    fault.textContent = job.error ?? "";
    const key = `${job.state} ${job.stop}`;
    if (key === shown) return;
    shown = key;
    const had = element.contains(document.activeElement);
    buttons.replaceChildren(...stops());
    if (had) (buttons.querySelector("button") ?? title).focus();
  };

  function stops() {
    const pause = () => button(t("Pause"), "pause", t("Stop, to go on later"));
    const after = () => button(t("Stop after this image"), "finish-image");
    const now = () => button(t("Stop now"), "cancel");
    const isMany = state.makesPictures(job);
    if (job.state === "running") return isMany ? [pause(), after(), now()] : [pause(), now()];
    if (job.state === "stopping") return job.stop === "now" ? [] : [button(t("Go on"), "resume"), now()];
    if (job.state === "waiting") return [pause(), now()];
    if (job.state === "paused") return [button(t("Go on"), "resume"), now()];
    if (job.state === "failed" || job.state === "cancelled") return [button(t("Go on"), "resume")];
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
      if (element.children[n] !== card) element.insertBefore(card, element.children[n] ?? null);
    });
    if (empty) empty.hidden = shown.length > 0;
  };
  document.addEventListener("results-changed", update);
  return { element, update };
}
