// Train: a collection and its report, a preset, and a training that is watched as it goes.

import { api, attempt, duration, h, label, released, remember, remembered, submit, t, told } from "./kit.js";
import { Form, folded } from "./forms.js";
import * as state from "./state.js";
import { chart, short } from "./charts.js";
import { go, jobHead, modelName } from "./pictures.js";
import { dropCollection } from "./collections.js";

const LOOK_MILLISECONDS = 2000;

// How long each takes on two cores, and what for; those that are not named here come after.
const PRESETS = {
  default: "Minutes: from Atelier’s own model",
  stylegan2_64: "Hours: good with few pictures",
  sketch_64: "Hours: pictures from drawings",
  r3gan_64: "Hours: quick to make pictures with",
  vae_64: "Hours: soft pictures",
  cyclegan_64: "Hours: turns one style into another",
  flagship_64: "Days: Atelier’s largest",
  "papers/dcgan": "As published: DCGAN",
  "papers/dcgan_wi": "As published: DCGAN-WI",
  "papers/wgan_gp": "As published: WGAN-GP",
  "papers/sketch_diffusion": "As published: from drawings",
};

/** What a training may begin with, as a choice: what it is first, its name after. */
function presetOptions(presets) {
  const known = Object.keys(PRESETS).filter((name) => name in presets);
  const names = [...known, ...Object.keys(presets).filter((name) => !known.includes(name))];
  const options = names.map((name) => h("option", { value: name, selected: name === "default" }, [PRESETS[name] && t(PRESETS[name]), name].filter(Boolean).join(" · ")));
  return [...options, h("option", { value: "" }, t("None of these: all by hand"))];
}

export function create() {
  const { sections, families, presets } = state.schema;
  const trainable = Object.keys(families).filter((name) => families[name].is_trainable !== false);

  const collection = h("select", { id: "collection", onchange: () => (remember("collection", collection.value), showReport(), changed()) });
  const inspect = h("button", { type: "button", onclick: () => attempt(inspectCollection) }, t("See the report"));
  const report = h("div", { class: "card", hidden: true });
  const preset = h("select", { id: "preset" }, presetOptions(presets));
  const start = h("select", { id: "start-from", onchange: () => changed() });
  const forms = {
    collect: new Form(sections.collect, { primary: [], hidden: ["data"] }),
    preprocess: new Form(sections.preprocess, { primary: ["resolution"], onchange: (name) => changed(name) }),
    train: new Form(sections.train, {
      primary: ["family", "total_images", "total_seconds"],
      choices: { family: () => trainable },
      advice: { family: (name) => t(families[name].description) },
      onchange: (name) => {
        if (name === "family") suit();
        changed(name);
      },
    }),
  };
  const optionsPlace = h("div");
  let options = null;
  let settled = 0; // times that the server was asked what a training would have
  let settling = Promise.resolve(); // until the newest question is answered
  let isUnanswered = false; // that question, which is asked again when the server is there
  let isRefused = false; // an order, as the fault says until something else is chosen
  const typed = new Set(); // fields that were changed since the last answer
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: "main go" }, t("Start training"));
  const field = (text, control) => h("div", { class: "field" }, h("div", { class: "title" }, h("label", { for: control.id }, text)), control);
  const form = h(
    "form",
    // A field tells what was typed in it only once it is left, and an answer may come before.
    { class: "panel", "aria-label": t("Train"), oninput: ({ target }) => target.dataset.field && typed.add(target.dataset.field) },
    h(
      "div",
      { class: "fields" },
      field(t("Collection"), collection),
      dropCollection((offer) => go("collections", { id: offer.id })),
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => go("collections", { id: collection.value }) }, t("Look through it")), inspect),
      field(t("Kind of training"), preset),
      field(t("Start from"), start),
    ),
    h("div", { style: "height:.85rem" }),
    forms.train.main,
    h("div", { style: "height:.85rem" }),
    forms.preprocess.main,
    folded(t("More settings"), h("h4", {}, t("The method’s own")), optionsPlace, h("h4", {}, t("Training")), forms.train.more, h("h4", {}, t("Collection")), forms.collect.more, forms.preprocess.more),
    h("div", { class: "foot" }, fault, button),
  );

  preset.addEventListener("change", takePreset);
  function takePreset() {
    const chosen = presets[preset.value] ?? {};
    for (const [name, one] of Object.entries(forms)) one.setBase(chosen[name] ?? {});
    typed.clear();
    suit();
    changed();
  }

  /** The options of the method that is chosen, from where the preset has them. */
  function suit() {
    const chosen = presets[preset.value]?.train ?? {};
    const family = forms.train.get("family");
    options = new Form(families[family].config, { base: family === chosen.family ? (chosen.options ?? {}) : {}, onchange: (name) => changed(name) });
    optionsPlace.replaceChildren(options.main);
  }

  /** A person chose something else, maybe in the field of this name. */
  function changed(name) {
    isRefused = false;
    if (name) typed.add(name);
    settle();
  }

  /** Put under what is chosen here all that the training would have besides: the server knows. */
  const settle = () => (settling = ask());

  async function ask() {
    if (!collection.value) return;
    const turn = ++settled;
    isUnanswered = false;
    try {
      const tables = await api("settings/training", { method: "POST", json: order() }).finally(released);
      if (turn !== settled) return; // asked again meanwhile
      if (!isRefused) fault.hidden = true;
      if (take(tables)) await ask(); // what was typed counts as chosen only now
    } catch (error) {
      if (turn !== settled) return;
      isUnanswered = error.status === undefined;
      if (!isRefused) refuse(error);
    }
  }

  /** Take an answer over => whether a field keeps what was typed though the answer has another value. */
  function take(tables) {
    const family = forms.train.get("family");
    const kept = Object.entries(forms).map(([name, one]) => one.rebase(tables[name], typed));
    if (forms.train.get("family") !== family) suit();
    kept.push(options.rebase(tables.train.options, typed));
    typed.clear();
    return kept.includes(true);
  }

  function refuse(error) {
    fault.textContent = error.message;
    fault.hidden = false;
  }

  function order() {
    const wanted = { kind: "train", collection: collection.value, settings: settings() };
    if (preset.value) wanted.preset = preset.value;
    if (start.value) wanted.start_from = start.value;
    return wanted;
  }

  function settings() {
    const given = {};
    for (const [name, one] of Object.entries(forms)) {
      const values = one.values();
      if (Object.keys(values).length) given[name] = values;
    }
    const own = options.values();
    if (Object.keys(own).length) given.train = { ...given.train, options: own };
    return given;
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    isRefused = false;
    fault.hidden = true;
    button.disabled = true;
    try {
      window.Notification?.requestPermission(); // told of its end, where the person agrees
      await settling;
      state.take(await submit(order()));
      followed = null;
      update();
    } catch (error) {
      isRefused = true;
      refuse(error);
    }
    button.disabled = false;
  });

  async function inspectCollection() {
    state.take(await submit({ kind: "inspect", collection: collection.value }));
    showReport();
  }

  function offer() {
    const size = ({ num_images: all, num_excluded: excluded }) => (all === null ? [] : [t("{n} pictures", { n: all - excluded }), ...(excluded ? [t("{n} excluded", { n: excluded })] : [])]);
    const known = state.collections.map((one) => [one.id, [one.name, ...size(one)].join(" · ")]);
    const key = JSON.stringify([known, state.models.map((model) => model.id)]);
    if (key === offer.before) return;
    offer.before = key;
    const [had, began] = [collection.value, start.value];
    collection.replaceChildren(...known.map(([id, text]) => h("option", { value: id }, text)));
    const last = state.newestFirst().find(({ kind }) => ["train", "inspect"].includes(kind));
    const wished = had || (remembered("collection") ?? last?.order.collection);
    if (known.some(([id]) => id === wished)) collection.value = wished;
    start.replaceChildren(
      h("option", { value: "" }, t("default for this kind of training")),
      h("option", { value: "none" }, t("nothing learnt yet")),
      ...state.models.map((model) => h("option", { value: model.id }, modelName(model))),
    );
    start.value = began;
    if (start.selectedIndex < 0) start.selectedIndex = 0;
    settle();
  }

  const inspectHead = jobHead();
  const lines = h("pre", { class: "report", tabindex: "0" });
  const old = h("p", { class: "notice" }, t("Pictures were left out or brought back since: see the report again."));
  report.append(inspectHead.element, old, lines);
  function showReport() {
    const job = state.newestFirst().find((one) => one.kind === "inspect" && one.order.collection === collection.value);
    report.hidden = !job;
    if (!job) return;
    const training = state.newestFirst().find((one) => one.kind === "train");
    report.style.order = training && training.id > job.id ? "1" : "0"; // the newest is on top
    inspectHead.update(job);
    lines.hidden = !job.outcome?.lines;
    const { num_images: all, num_excluded: excluded } = state.collections.find(({ id }) => id === collection.value) ?? {};
    old.hidden = !job.outcome || job.outcome.num_images === all - excluded;
    const text = (job.outcome?.lines ?? []).join("\n");
    lines.replaceChildren(...text.split(/(█+)/).map((part) => (part.startsWith("█") ? h("span", { class: "bars" }, part) : part)));
  }

  // ------------------------------------------------------------ a training that is watched

  let followed = null; // a job's number; null: the newest
  let shown = null;
  let isLooking = false;
  let next = null; // a look that was asked for meanwhile
  let looked = 0;
  const which = h("select", { "aria-label": t("Training"), onchange: () => ((followed = Number(which.value)), update()) });
  const head = jobHead();
  const ready = h("p", { class: "notice", hidden: true });
  const charts = h("div", { class: "charts" });
  const others = h("div", { class: "charts" });
  const place = h("input", { type: "range", min: "0", step: "1", "aria-label": t("Sample grid") });
  const at = h("output");
  const grid = h("img", { alt: t("Sample grid") });
  const samples = h("div", { class: "grid", hidden: true }, h("h4", {}, t("Samples")), h("div", { class: "range" }, place, at), grid);
  const guardian = h("ul", { class: "told" });
  const guarded = h("div", { hidden: true }, h("h4", {}, t("Guardian")), guardian);
  const verdict = h("p", { class: "verdict", role: "status" });
  const figuresBehind = h("details", { class: "more" }, h("summary", {}, t("Curves and figures")), charts, others);
  const card = h("div", { class: "card stack", hidden: true }, which, head.element, ready, verdict, samples, guarded, figuresBehind);
  const empty = h("p", { class: "empty" }, t("Choose a collection and a kind of training; the curves and samples of the training appear here."));
  let grids = [];
  let isNewest = true;

  place.addEventListener("input", () => {
    isNewest = Number(place.value) === grids.length - 1;
    showGrid();
  });

  function showGrid() {
    const images = grids[Number(place.value)];
    if (images === undefined) return;
    const address = `/api/v1/jobs/${shown}/grids/${images}`;
    if (grid.getAttribute("src") !== address) grid.src = address;
    at.textContent = images.toLocaleString();
  }

  async function look(job) {
    if (isLooking) {
      next = job;
      return;
    }
    isLooking = true;
    looked = Date.now();
    await attempt(async () => {
      const view = await api(`jobs/${job.id}/training`);
      if (job.id === shown) draw(view);
    });
    isLooking = false;
    const missed = next;
    next = null;
    if (missed) look(missed);
  }

  function draw({ curves, measurements, guardian: log, grids: found, verdict: end }) {
    const { images_seen: seen = [], seconds, ...columns } = curves;
    const names = Object.keys(columns);
    const group = (fits) => names.filter(fits).map((name) => ({ name, points: seen.map((x, n) => [x, columns[name][n]]) }));
    const isLoss = (name) => name.includes("loss");
    const isScore = (name) => name.includes("score");
    const first = [chart(t("Losses"), group(isLoss)), chart(t("Critic scores"), group(isScore))];
    const rest = group((name) => !isLoss(name) && !isScore(name)).map((curve) => chart(label(curve.name), [curve]));
    charts.replaceChildren(...first.filter(Boolean));
    others.replaceChildren(...[...metrics(measurements), ...rest].filter(Boolean));
    const job = state.jobs.get(shown);
    verdict.textContent = end && !state.isActive(job) ? concluded(end) : judged(job, measurements, log, seconds);
    grids = found;
    samples.hidden = !grids.length;
    place.max = String(Math.max(0, grids.length - 1));
    if (isNewest) place.value = place.max;
    showGrid();
    guarded.hidden = !log.length;
    guardian.replaceChildren(
      ...log.map((row) => h("li", { class: "warned" }, `${Number(row.images_seen).toLocaleString()}: ${[row.saw && t(row.saw), told(row.did ?? "")].filter(Boolean).join(" — ")}`)),
    );
  }

  function metrics(rows) {
    const found = new Map();
    for (const { images_seen: x, measurements = [] } of rows) {
      for (const one of measurements) {
        if (one.style) continue;
        const name = `${one.metric}, ${one.against}`;
        if (!found.has(name)) found.set(name, { name: one.metric, points: [], band: [], one });
        found.get(name).points.push([x, one.value]);
        if (one.low !== null && one.high !== null) found.get(name).band.push([x, one.low, one.high]);
      }
    }
    const all = [...found.values()];
    const note = ({ one }) => t("{made} made against {real}, features: {features}", { made: one.num_generated, real: one.num_real, features: one.features });
    const [few, many] = [all.filter(({ points }) => points.length < 2), all.filter(({ points }) => points.length > 1)];
    return [...many.map((curve) => chart(named(curve.name), [curve], note(curve))), few.length ? figures(few, note(few[0])) : null];
  }

  /** How it goes, in plain words; the figures lie behind. */
  function judged(job, rows, log, seconds = []) {
    const distances = rows.flatMap(({ measurements = [] }) => measurements.filter((one) => !one.style && one.metric === "kid").slice(0, 1));
    if (!seconds.length) return ""; // it is still being prepared
    const parts = [t("Learning for {time}.", { time: duration(seconds.at(-1)) }), trend(distances, log)];
    const left = state.isActive(job) && job.progress?.unit === "seconds" && job.progress.total - job.progress.done;
    if (left > 0) parts.push(t("About {time} to go.", { time: duration(left) }));
    return parts.join(" ");
  }

  /** What the trainer says at a training's end, as `Verdict.sentences` has it. */
  function concluded({ headline, typical, typical_of_real, is_blur, varied, varied_of_real, varies_little, minutes_more, advice }) {
    if (!headline) return t(advice);
    const percent = (share) => `${Math.round(100 * share)} %`;
    const parts = [t(headline)];
    if (!is_blur) parts.push(
      t("{share} of its pictures look like the collection's (of real ones: {real}).", { share: percent(typical), real: percent(typical_of_real) }),
    );
    if (varies_little) parts.push(t("They vary little: {share} of the collection has one like it (with real ones: {real}).", { share: percent(varied), real: percent(varied_of_real) }));
    if (advice) parts.push(t(advice, { time: duration(60 * minutes_more) }));
    return parts.join(" ");
  }

  /** Whether the pictures still come nearer to the real ones than the measurement can err. */
  function trend(distances, log) {
    if (log.at(-1)?.saw === "over-fitting") return t("It is starting to memorise its pictures: more pictures would help more than more time.");
    if (distances.length < 3) return t("Too early to judge: look at the samples.");
    const [before, last] = [Math.min(...distances.slice(0, -1).map(({ value }) => value)), distances.at(-1)];
    const slack = last.high !== null && last.low !== null ? (last.high - last.low) / 2 : 0.05 * before;
    if (last.value < before - slack) return t("The pictures are still getting better.");
    return last.value > before + slack ? t("The pictures were better before: the best state is kept.") : t("The pictures hardly get better any more: you can stop here.");
  }

  const named = (metric) => ({ frechet: t("Fréchet distance"), kid: t("Kernel distance (KID)") })[metric] ?? label(metric);

  /** What was measured once is no curve yet. */
  function figures(curves, note) {
    const list = h("dl", { class: "facts" });
    for (const { name, one } of curves) {
      const range = one.low === null || one.high === null ? "" : ` (${short(one.low)} – ${short(one.high)})`;
      list.append(h("dt", {}, named(name)), h("dd", {}, `${short(one.value)}${range}`));
    }
    return h("figure", { class: "chart", style: "margin:0" }, h("figcaption", {}, t("Measured")), list, h("p", { class: "help" }, note));
  }

  function update() {
    offer();
    if (isUnanswered && state.isConnected) settle();
    showReport();
    const trainings = state.newestFirst().filter((job) => job.kind === "train");
    empty.hidden = trainings.length > 0;
    card.hidden = !trainings.length;
    if (!trainings.length) return;
    const job = trainings.find((one) => one.id === followed) ?? trainings.find(state.isActive) ?? trainings[0];
    const key = trainings.map((one) => one.id).join();
    if (which.dataset.key !== key) {
      which.dataset.key = key;
      which.replaceChildren(...trainings.map((one) => h("option", { value: String(one.id) }, `${t("Training")} ${one.id} · ${one.run ?? one.order.preset ?? ""}`)));
    }
    which.hidden = trainings.length < 2;
    which.value = String(job.id);
    head.update(job);
    const model = job.outcome?.model;
    ready.hidden = !model;
    if (model && ready.dataset.model !== model) {
      ready.dataset.model = model;
      ready.replaceChildren(t("The model is saved."), " ", h("button", { type: "button", class: "link", onclick: () => go("generate", { model }) }, t("Make pictures with it")));
    }
    const isNew = shown !== job.id || update.state !== job.state;
    if (shown !== job.id) {
      charts.replaceChildren();
      others.replaceChildren();
      samples.hidden = guarded.hidden = true;
      isNewest = true;
    }
    shown = job.id;
    update.state = state.isConnected ? job.state : null; // else it is looked at when the server is there
    if (!state.isConnected) return;
    if (isNew || (state.isActive(job) && Date.now() - looked > LOOK_MILLISECONDS)) look(job);
  }

  takePreset();
  return {
    element: h("div", { class: "two" }, form, h("div", { class: "stack" }, report, empty, card)),
    update,
    show: ({ job, collection: wished }) => {
      if (job) followed = Number(job);
      if (!wished) return;
      collection.value = wished;
      remember("collection", wished);
      changed();
    },
  };
}
