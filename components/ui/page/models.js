// Models: what there is to make pictures with, as cards; two of them side by side by the same seeds.

import { api, attempt, query, submit, t, told } from "./kit.js";
import * as state from "./state.js";
import { go, modelName, openResult } from "./pictures.js";
import { save } from "./results.js";
import { did } from "./undo.js";
import { Act, Dialog, html, useEffect, useLoaded, useRef, useState, view } from "./views.js";

const ORIGINS = { own: "Comes with Atelier", adopted: "Adopted", trained: "Trained here" };
const COMPARED = 8; // seeds

const change = async (id, json) => {
  await api(`models/${id}`, { method: "PATCH", json });
  await state.loadOffers();
};

async function restore(model) {
  await api(`models/${model.id}/restore`, { method: "POST" });
  await state.loadOffers();
}

async function remove(model) {
  await api(`models/${model.id}`, { method: "DELETE" });
  await state.loadOffers();
  did(t("“{name}” is deleted; its files are removed in a week.", { name: modelName(model) }), () => restore(model));
}

/** Pictures that it made, the newest first; where there are none yet, a button that makes some. */
function Samples({ model, most = 4 }) {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    const again = () => setTick((n) => n + 1);
    document.addEventListener("results-changed", again);
    return () => document.removeEventListener("results-changed", again);
  }, []);
  const found = useLoaded(() => api(`results?${query({ model_digest: model.digest, limit: most })}`), [model.digest, tick, state.newestResult]);
  if (!found) return html`<div class="samples"></div>`;
  const ids = found.results.map(({ result }) => result.id);
  const order = async () => state.take(await submit({ kind: "generate", model: model.id, choices: { generate: { count: most, originality: false } } }));
  if (!ids.length) {
    return html`<div class="samples none">${model.needs.length
      ? html`<p>${t("It needs one of your pictures to start from.")}</p>`
      : html`<${Act} act=${order}>${t("Make samples")}<//>`}</div>`;
  }
  return html`<div class="samples">${ids.map((id) => html`<button key=${id} type="button" class="tile" data-id=${id} onClick=${() => openResult(id, () => ids)}><img src=${`/api/v1/results/${id}/thumbnail?side=256`} alt=${t("Picture {id}", { id: String(id) })} loading="lazy" /></button>`)}</div>`;
}

function Name({ model, onend }) {
  const keep = async (event) => {
    event.preventDefault();
    const title = new FormData(event.target).get("title").trim();
    if (title) await attempt(() => change(model.id, { title }));
    onend();
  };
  const place = useRef(null);
  useEffect(() => (place.current.focus(), place.current.select()), []);
  return html`<form class="rename" onSubmit=${keep}><input type="text" name="title" maxlength="80" defaultValue=${modelName(model)} aria-label=${t("Name of the model")} ref=${place} /><button class="main">${t("Save")}</button><button type="button" onClick=${onend}>${t("Cancel")}</button></form>`;
}

function Card({ model, isPicked, onpick }) {
  const [isNaming, setNaming] = useState(false);
  const { resolution: side, styles, images_seen: seen } = model;
  return html`<article class="card model" aria-label=${modelName(model)}>
    <${Samples} model=${model} />
    ${isNaming ? html`<${Name} model=${model} onend=${() => setNaming(false)} />` : html`<h3>${modelName(model)}${model.is_default && html` <span class="badge">${t("Default")}</span>`}</h3>`}
    <dl class="facts">
      <dt>${t("Origin")}</dt><dd>${t(ORIGINS[model.origin])}</dd>
      <dt>${t("Learnt from")}</dt><dd>${model.dataset_name}</dd>
      <dt>${t("Makes")}</dt><dd>${side} × ${side}</dd>
      <dt>${t("Styles")}</dt><dd title=${styles.join(", ")}>${styles.length ? styles.slice(0, 3).join(", ") + (styles.length > 3 ? " …" : "") : t("none")}</dd>
      <dt>${t("Pictures seen in training")}</dt><dd>${seen.toLocaleString()}</dd>
      <dt>${t("Method")}</dt><dd title=${t(model.description)}>${model.family}</dd>
    </dl>
    <div class="row">
      <button type="button" class="main" onClick=${() => go("generate", { model: model.id })}>${t("Make pictures with it")}</button>
      ${!model.is_default && html`<${Act} act=${() => change(model.id, { is_default: true })}>${t("Make it the default")}<//>`}
    </div>
    <div class="row small">
      <button type="button" class="link" onClick=${() => go("gallery", { model_digest: model.digest })}>${t("Its pictures")}</button>
      <button type="button" class="link" onClick=${() => setNaming(true)}>${t("Rename")}</button>
      <button type="button" class="link" onClick=${() => save(`/api/v1/models/${model.id}/export`)}>${t("Export")}</button>
      ${!model.needs.length && html`<button type="button" class="link" aria-pressed=${String(isPicked)} onClick=${onpick}>${isPicked ? t("Chosen to compare") : t("Compare")}</button>`}
      ${model.origin !== "own" && html`<${Act} class="link danger" act=${() => remove(model)}>${t("Delete")}<//>`}
    </div>
  </article>`;
}

/** The same seeds made by two models, one under the other. */
function Comparison({ models, onclose }) {
  const [jobs, setJobs] = useState([]);
  const order = (model) => submit({ kind: "generate", model: model.id, choices: { generate: { count: COMPARED, seed: 0, originality: false }, enhance: { scale: 1 } } });
  useEffect(() => {
    attempt(async () => {
      const made = await Promise.all(models.map(order));
      made.forEach(state.take);
      setJobs(made.map((job) => job.id));
    });
  }, []);
  return html`<${Dialog} title=${t("The same seeds by two models")} onclose=${onclose}>
    ${models.map((model, n) => {
      const job = state.jobs.get(jobs[n]);
      const ids = job?.results ?? [];
      return html`<section class="compared"><h3>${modelName(model)}</h3>
        <div class="samples eight">${Array.from({ length: COMPARED }, (_, place) => (ids[place]
          ? html`<div class="tile"><img src=${`/api/v1/results/${ids[place]}/thumbnail?side=256`} alt=${t("Seed {seed}", { seed: String(place) })} /></div>`
          : html`<div class="tile blank" aria-hidden="true"></div>`))}</div>
        ${job?.error && html`<p class="fault" role="alert">${told(job.error)}</p>`}
      </section>`;
    })}
  <//>`;
}

/** Those that were deleted in the last week, each to be brought back. */
function Deleted() {
  const found = useLoaded(() => api("models/deleted"), [state.models]);
  if (!found?.length) return null;
  return html`<details class="more"><summary>${t("Deleted models")} · ${found.length}</summary>
    <ul class="deleted">${found.map((model) => html`<li key=${model.id}>${modelName(model)} <${Act} act=${() => restore(model)}>${t("Restore")}<//></li>`)}</ul>
  </details>`;
}

function Models() {
  const [picked, setPicked] = useState([]);
  const toggle = (id) => setPicked(picked.includes(id) ? picked.filter((one) => one !== id) : [...picked, id].slice(-2));
  const models = picked.map(state.modelById).filter(Boolean);
  return html`<section class="models" aria-label=${t("Models")}>
    <p class="help">${t("The default is taken where you name no other. Choose two to see the same seeds made by both.")}</p>
    <div class="shelf">${state.models.map((model) => html`<${Card} key=${model.id} model=${model} isPicked=${picked.includes(model.id)} onpick=${() => toggle(model.id)} />`)}</div>
    <${Deleted} />
    ${models.length === 2 && html`<${Comparison} key=${picked.join()} models=${models} onclose=${() => setPicked([])} />`}
  </section>`;
}

export const create = () => view(Models);
