// Enlarge: drop any pictures, choose how, watch them come, compare and download; trainings go on.

import { api, attempt, h, query, sentFile, submit, t, told, upload } from "./kit.js";
import { advice, enlargers } from "./enlargers.js";
import { Form } from "./forms.js";
import * as state from "./state.js";
import { choicesOf, jobHead, reachable, tile, tileGrid } from "./pictures.js";
import { dropPlace } from "./inputs.js";
import { download } from "./results.js";
import { Act, html, Made, useEffect, useRef, useState, view } from "./views.js";

/** Two pictures one over the other, and how far each is seen. */
function Slider({ before, after }) {
  const [at, setAt] = useState(50);
  const frame = useRef(null);
  const drag = (event) => {
    if (!(event.buttons & 1)) return;
    const box = frame.current.getBoundingClientRect();
    setAt(Math.min(100, Math.max(0, ((event.clientX - box.left) / box.width) * 100)));
  };
  return html`<div>
    <div class="slider" ref=${frame} style=${{ "--at": `${at}%` }} onPointerDown=${drag} onPointerMove=${drag}>
      <img src=${after} alt=${t("Enlargement")} draggable=${false} />
      <img src=${before} alt=${t("Original")} class="before" draggable=${false} />
      <div class="handle"></div>
      <span class="tag left">${t("Original")}</span><span class="tag right">${t("Enlargement")}</span>
    </div>
    <input type="range" min="0" max="100" value=${at} aria-label=${t("How much of the original is seen")} onInput=${(event) => setAt(Number(event.target.value))} />
  </div>`;
}

/** What a result was made from, to lie under the slider: { before, after } or the job that makes it. */
async function originalOf(id, enhance) {
  const found = await api(`results/${id}`);
  const { result } = found;
  const { origin, enhancement } = result.record;
  const file = `/api/v1/results/${id}/file`;
  if (origin.kind !== "generated") return originalFile(origin, file);
  if (enhancement.scale === 1) {
    return { before: file, job: await submit({ kind: "enhance", results: [result.id], enhance }) };
  }
  const same = { model_digest: origin.model_digest, first_seed: origin.seed, last_seed: origin.seed, limit: 100 };
  const { originality: _, ...made } = origin;
  const isOriginal = ({ result: { record } }) => record.enhancement.scale === 1 && Object.keys(made).every((name) => JSON.stringify(record.origin[name]) === JSON.stringify(made[name]));
  const kept = (await api(`results?${query(same)}`)).results.find(isOriginal);
  if (kept) return { before: `/api/v1/results/${kept.result.id}/file`, after: file };
  const model = state.modelByDigest(origin.model_digest);
  if (!model) throw new Error(t("Its model is no longer here, so the original cannot be made again."));
  const { generate } = choicesOf(found);
  const files = await sentFiles(origin.inputs ?? []);
  return { after: file, job: await submit({ kind: "generate", model: model.id, choices: { generate, enhance: { scale: 1 } }, ...files }) };
}

/** The files that a picture was made from, among those that were sent => ids by role. */
async function sentFiles(inputs) {
  const ids = {};
  for (const { role, name, sha256 } of inputs) {
    const sent = await sentFile(sha256);
    if (!sent) throw new Error(t("It was made from {name}, which is no longer here, so the original cannot be made again.", { name }));
    ids[role] = sent.id;
  }
  return ids;
}

async function originalFile(origin, after) {
  const sent = await sentFile(origin.sha256);
  if (!sent) throw new Error(t("The file it was made from is no longer here; drop it again to compare."));
  return { before: `/api/v1/uploads/${sent.id}/file`, after };
}

function makeForm() {
  const { properties } = state.schema.sections.enhance;
  return new Form(state.schema.sections.enhance, {
    primary: ["scale", "enhancer", "strength"],
    hidden: ["weights"],
    choices: {
      scale: () => properties.scale.enum.filter((n) => n > 1).map((n) => [n, `×${n}`]),
      enhancer: enlargers,
    },
    advice: { enhancer: advice },
  });
}

/** One order to enlarge, whose pictures appear as they come. */
function Work({ job, onshow }) {
  const [head] = useState(jobHead);
  const [grid] = useState(() => tileGrid(t("Pictures of job {id}", { id: String(job.id) })));
  const [tiles] = useState(() => new Map());
  const shownOf = ({ results }) => results.filter((id) => !state.isHidden(id));
  const ids = shownOf(job);
  const warned = (state.lines.get(job.id) ?? []).filter(({ kind }) => kind === "warned"); // which pictures were passed over
  useEffect(() => head.update(job));
  // Tiles that are there stay, and with them the focus.
  useEffect(() => {
    for (const id of tiles.keys()) if (!ids.includes(id)) (tiles.get(id).remove(), tiles.delete(id));
    for (const id of ids.filter((id) => !tiles.has(id))) {
      tiles.set(id, tile(id, () => shownOf(state.jobs.get(job.id))));
      grid.append(tiles.get(id));
    }
    reachable(grid);
  }, [ids.join()]);
  return html`<article class="card job">
    <${Made} element=${head.element} />
    ${warned.length > 0 && html`<ul class="told">${warned.map(({ line }) => html`<li class="warned">${told(line)}</li>`)}</ul>`}
    <${Made} element=${grid} />
    ${ids.length > 0 && html`<div class="row small">
      <button type="button" onClick=${() => onshow(ids.at(-1))}>${t("Compare")}</button>
      <${Act} act=${() => download(ids)}>${t("Download zip")}<//>
    </div>`}
  </article>`;
}

function Enlarge({ values }) {
  const [form] = useState(makeForm);
  const [pair, setPair] = useState(null);
  const compare = (id) =>
    attempt(async () => {
      const found = await originalOf(Number(id), form.values());
      if (found.job) state.take(found.job);
      setPair(found);
    });
  useEffect(() => {
    if (!values.result) return;
    history.replaceState(null, "", "#/enlarge"); // once is enough
    compare(values.result);
  }, [values]); // anew with every visit, also one for the same result
  const waited = pair?.job && state.jobs.get(pair.job.id);
  const made = waited?.results.at(-1);
  const file = made && `/api/v1/results/${made}/file`;
  const [before, after] = [pair?.before ?? file, pair?.after ?? file];
  const [drop] = useState(() => dropPlace(t("Drop pictures here to enlarge them, or choose some"), "image/*", (files) => enlargeFiles(files, form), { isMany: true }));
  const works = state.newestFirst().filter((job) => job.kind === "enhance").slice(0, 5);
  return html`<div class="two">
    <section class="panel enlarging" aria-label=${t("Enlarge")}><${Made} element=${drop} /><${Made} element=${form.main} /><details class="more"><summary>${t("More settings")}</summary><${Made} element=${form.more} /></details></section>
    <section class="stack" aria-label=${t("Pictures")}>
      ${before && after && html`<div class="card"><${Slider} key=${before + after} before=${before} after=${after} /></div>`}
      ${pair?.job && !file && html`<p class="line" role="status">${pair.before ? t("Enlarging…") : t("Making the original…")}</p>`}
      ${works.map((job) => html`<${Work} key=${job.id} job=${job} onshow=${compare} />`)}
      ${!works.length && !pair && html`<p class="empty">${t("Drop pictures of your own, or open one in the gallery and press Enlarge. A training goes on meanwhile.")}</p>`}
    </section>
  </div>`;
}

/** Send the files, then one order for all of them. */
async function enlargeFiles(files, form) {
  const sent = [];
  for (const file of files) {
    const one = await upload(file, file.name);
    if (one.kind !== "picture") throw new Error(t("{name} is not a picture.", { name: file.name }));
    sent.push(one.id);
  }
  state.take(await submit({ kind: "enhance", uploads: sent, enhance: form.values() }));
}

export const create = () => view(Enlarge);
