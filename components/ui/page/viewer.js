// One result opened: zoom and pan, its record, and what can be done with it.

import { api, attempt, keyOf, query, submit, t, toast, when } from "./kit.js";
import * as state from "./state.js";
import { choicesOf, go, modelName } from "./pictures.js";
import * as results from "./results.js";
import { Act, html, render, useEffect, useRef, useState } from "./views.js";

const MOST_ZOOM = 16;

const dialog = document.createElement("dialog");
dialog.className = "viewer";
dialog.setAttribute("aria-labelledby", "viewer-title");
dialog.tabIndex = -1; // so that it may hold the focus itself
let open = { found: null, siblings: () => [] };
let asked = 0; // questions so far: only the newest one's answer is drawn
let wished = null; // the one asked for, until it is drawn

/** The one that a person is at, which may be on its way still. */
const standing = () => wished ?? open.found.result.id;

const draw = () => render(open.found && html`<${Viewer} key=${open.found.result.id} found=${open.found} />`, dialog);

/** Draw another one; keys are heard on, by the button of the same name or by the dialog itself. */
function drawNext(found) {
  const name = dialog.contains(document.activeElement) && document.activeElement.ariaLabel;
  open.found = found;
  draw();
  if (dialog.contains(document.activeElement)) return;
  const same = name && [...dialog.querySelectorAll("button")].find((one) => one.ariaLabel === name);
  (same || dialog).focus();
}

/** Show one result; `siblings()` are the ids that the arrow keys go through. */
export async function openResult(id, siblings = () => []) {
  const mine = ++asked;
  wished = null;
  const found = await attempt(() => api(`results/${id}`));
  if (!found || mine !== asked) return;
  if (!dialog.isConnected) document.body.append(dialog);
  open = { found, siblings };
  draw();
  if (!dialog.open) dialog.showModal();
}

/** What the arrow keys go through: all but other deleted ones, unless those were searched for. */
const around = () => open.siblings().filter((id) => id === standing() || open.siblings.isDeleted || !state.isHidden(id));

function turn(by) {
  const ids = around();
  const next = ids[ids.indexOf(standing()) + by];
  if (next !== undefined) turnTo(next);
}

/** Another one in the open dialog, unless it is closed before the answer is here. */
async function turnTo(id) {
  const mine = ++asked;
  wished = id;
  const found = await attempt(() => api(`results/${id}`));
  if (mine !== asked) return;
  wished = null;
  if (found) drawNext(found);
}

/** The same result again, after something was noted of it. */
async function renew() {
  if (dialog.open) await turnTo(standing());
}
document.addEventListener("results-changed", renew);

dialog.addEventListener("close", () => {
  const { id } = open.found.result;
  asked += 1; // what is still on its way is not shown
  wished = null;
  open.found = null;
  draw();
  document.querySelector(`button.tile[data-id="${id}"]`)?.focus();
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside it: its content covers the rest
});
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey) return;
  const { result, is_starred: isStarred } = open.found;
  const key = keyOf(event);
  if (key === "arrowleft") turn(-1);
  if (key === "arrowright") turn(1);
  if (key === "s") attempt(() => results.star([result.id], !isStarred));
  if (key === "delete" && !event.repeat && !open.siblings.isDeleted) attempt(() => remove(result.id));
});

async function remove(id) {
  const ids = around();
  const next = ids[ids.indexOf(id) + 1] ?? ids[ids.indexOf(id) - 1];
  await results.remove([id]);
  if (next === undefined) dialog.close();
  else await turnTo(next);
}

/** A picture that the wheel, two fingers, + and - make larger, and that is then pulled about. */
function Stage({ found }) {
  const [look, setLook] = useState({ zoom: 1, x: 0, y: 0 });
  const place = useRef(null);
  const fingers = useRef(new Map());
  const moved = useRef(false);
  const zoomTo = (zoom, [x, y] = [0, 0]) =>
    setLook((old) => {
      const now = Math.min(MOST_ZOOM, Math.max(1, zoom(old.zoom)));
      const share = now / old.zoom;
      return now === 1 ? { zoom: 1, x: 0, y: 0 } : { zoom: now, x: x - (x - old.x) * share, y: y - (y - old.y) * share };
    });
  const from = ({ clientX, clientY }) => {
    const box = place.current.getBoundingClientRect();
    return [clientX - box.left - box.width / 2, clientY - box.top - box.height / 2];
  };
  useEffect(() => {
    const wheel = (event) => {
      event.preventDefault();
      zoomTo((zoom) => zoom * 1.0015 ** -event.deltaY, from(event));
    };
    const key = (event) => {
      if (event.target.matches("input, select, textarea")) return;
      const zoom = { "+": (z) => z * 1.5, "=": (z) => z * 1.5, "-": (z) => z / 1.5, 0: () => 1 }[event.key];
      if (zoom) zoomTo(zoom);
    };
    place.current.addEventListener("wheel", wheel, { passive: false });
    dialog.addEventListener("keydown", key);
    return () => dialog.removeEventListener("keydown", key);
  }, []);
  const spread = () => {
    const [a, b] = [...fingers.current.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  const down = (event) => {
    moved.current = false;
    fingers.current.set(event.pointerId, event);
  };
  const move = (event) => {
    const before = fingers.current.get(event.pointerId);
    if (!before) return;
    const old = fingers.current.size === 2 ? spread() : 0;
    fingers.current.set(event.pointerId, event);
    if (old) return zoomTo((zoom) => (zoom * spread()) / old, from(event));
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    if (Math.abs(dx) + Math.abs(dy) > 2) moved.current = true;
    setLook((one) => (one.zoom === 1 ? one : { ...one, x: one.x + dx, y: one.y + dy }));
  };
  const up = (event) => fingers.current.delete(event.pointerId);
  const { result } = found;
  return html`<div class="stage" ref=${place} data-zoom=${look.zoom.toFixed(2)} onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up}
    onDblClick=${(event) => zoomTo((zoom) => (zoom > 1 ? 1 : 3), from(event))}>
    ${found.is_missing
      ? html`<p class="gone">${t("The file was removed from the disk.")}</p>`
      : html`<img src=${found.file} draggable=${false} alt=${t("Picture {id}", { id: String(result.id) })} class=${result.width < 400 ? "small" : ""} style=${{ transform: `translate(${look.x}px, ${look.y}px) scale(${look.zoom})` }} />`}
    <button type="button" class="turn back" aria-label=${t("Previous picture")} onClick=${() => turn(-1)}>‹</button>
    <button type="button" class="turn on" aria-label=${t("Next picture")} onClick=${() => turn(1)}>›</button>
    <div class="zooms"><button type="button" aria-label=${t("Smaller")} onClick=${() => zoomTo((zoom) => zoom / 1.5)}>−</button><button type="button" aria-label=${t("Larger")} onClick=${() => zoomTo((zoom) => zoom * 1.5)}>+</button></div>
  </div>`;
}

function Facts({ found }) {
  const { result } = found;
  const { record } = result;
  const { origin, enhancement } = record;
  const isMade = origin.kind === "generated";
  const model = isMade && state.modelByDigest(origin.model_digest);
  const rows = [
    [t("Number"), String(result.id)],
    [t("Size"), `${result.width} × ${result.height}`],
    [t("Model"), isMade && (model ? modelName(model) : `${origin.family} · ${origin.dataset_name}`)],
    [t("Learnt from"), isMade && model?.title && origin.dataset_name],
    [t("Style"), [origin.style, origin.towards_style].filter(Boolean).join(" → ")],
    [t("Prompt"), origin.prompt],
    [t("Made from"), (origin.inputs ?? []).map(({ name }) => name).join(", ")],
    [t("Towards seed"), origin.options?.towards_seed?.toString()],
    [t("Enlarged"), enhancement.scale > 1 ? `×${enhancement.scale}, ${enhancement.enhancer}` : t("no")],
    [t("Changed by enlarging"), enhancement.scale > 1 && record.drift !== null && drift(record.drift)],
    [t("Like a training picture?"), isMade && origin.originality !== null && originality(origin.originality)],
    [t("Board"), found.board],
    [t("Kept"), when(result.kept_at)],
  ];
  return html`<dl class="facts">${rows.filter(([, value]) => value).map(([name, value]) => html`<dt>${name}</dt><dd>${value}</dd>`)}</dl>`;
}

/** Plain words first, the figure after. */
function drift(levels) {
  const words = levels < 1 ? t("not to be seen") : levels < 4 ? t("a little") : t("visibly");
  return `${words} (${t("{n} of 255", { n: Math.round(levels * 100) / 100 })})`;
}

/** 0 is a copy; 1 is as far from its nearest as training pictures are from one another. */
function originality(distance) {
  const words = distance < 0.2 ? t("nearly a copy") : distance < 0.6 ? t("close to one") : t("no, of its own");
  return `${words} (${distance.toFixed(2)})`;
}

function Downloads({ found }) {
  const { result } = found;
  const formats = state.schema.sections.convert.properties.format.enum;
  const [format, setFormat] = useState(result.media_type.replace("image/", ""));
  const [hasRecord, setRecord] = useState(true);
  const address = `${found.file}?${query({ format, record: hasRecord ? undefined : "false" })}`;
  const picture = async () => {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(t("The picture cannot be fetched."));
    return answer.blob();
  };
  const copy = async () => {
    const png = fetch(`${found.file}?${query({ format: "png", record: hasRecord ? undefined : "false" })}`).then((answer) => answer.blob());
    await navigator.clipboard.write([new ClipboardItem({ "image/png": png })]);
    toast(t("The picture is on the clipboard. Most programs paste it without its record."));
  };
  const share = async () => {
    const blob = await picture();
    const name = `${found.name.replace(/\.[^.]*$/, "")}.${blob.type.split("/")[1]}`;
    const file = new File([blob], name, { type: blob.type });
    await navigator.share({ files: [file] });
  };
  return html`<div class="pair">
      <button type="button" class="main" onClick=${() => results.save(`${address}&download=true`)}>${t("Download")}</button>
      <select aria-label=${t("Format")} value=${format} onChange=${(event) => setFormat(event.target.value)}>${formats.map((one) => html`<option value=${one}>${one}</option>`)}</select>
    </div>
    <div class="check"><input type="checkbox" id="with-record" checked=${hasRecord} onChange=${(event) => setRecord(event.target.checked)} /><label for="with-record">${t("With its record (model, seed, settings)")}</label></div>
    <div class="row"><${Act} act=${copy}>${t("Copy")}<//>${navigator.canShare && html`<${Act} act=${share}>${t("Share")}<//>`}</div>`;
}

function OtherModel({ found }) {
  const { origin } = found.result.record;
  const others = state.models.filter((model) => model.digest !== origin.model_digest && !model.needs.length);
  const [which, setWhich] = useState(others[0]?.id);
  if (!others.length) return null;
  const order = async () => {
    const model = state.modelById(which);
    const settings = choicesOf(found);
    const { generate } = settings;
    if (![generate.style, generate.towards_style].every((one) => model.styles.includes(one))) {
      delete generate.towards_style;
      delete generate.style_blend;
    }
    if (!model.styles.includes(generate.style)) delete generate.style;
    if (model.family !== origin.family) delete generate.options;
    delete generate.prompt;
    delete generate.originality; // the record says whether this picture's model could tell it
    await submit({ kind: "generate", model: model.id, choices: settings });
    dialog.close();
    go("generate");
  };
  return html`<div class="pair">
    <${Act} act=${order}>${t("Same seed, other model")}<//>
    <select aria-label=${t("Other model")} value=${which} onChange=${(event) => setWhich(event.target.value)}>${others.map((model) => html`<option value=${model.id}>${modelName(model)}</option>`)}</select>
  </div>`;
}

function Actions({ found }) {
  const { result } = found;
  const isMade = result.record.origin.kind === "generated";
  const leave = (part, values) => () => (dialog.close(), go(part, values));
  const scale = results.scaleTo1024(result);
  return html`<div class="actions">
    <${Downloads} found=${found} />
    ${isMade && html`<button type="button" onClick=${leave("generate", { more: result.id })}>${t("More like this")}</button>`}
    ${scale && html`<button type="button" onClick=${() => results.enlarge([result.id], scale)}>${t("Enlarge to {n}", { n: String(Math.max(result.width, result.height) * scale) })}</button>`}
    ${isMade && html`<button type="button" onClick=${leave("generate", { like: result.id })}>${t("Use these settings")}</button>`}
    ${isMade && html`<${OtherModel} found=${found} />`}
    <div class="row">
      <button type="button" onClick=${leave("sketch", { from: result.id })}>${t("Send to Sketch")}</button>
      <button type="button" onClick=${leave("enlarge", { result: result.id })}>${t("Compare")}</button>
      <button type="button" onClick=${leave("check", { result: result.id })}>${t("Check")}</button>
    </div>
  </div>`;
}

function Viewer({ found }) {
  const { result, is_starred: isStarred } = found;
  const { origin } = result.record;
  const isGone = state.isHidden(result.id) || open.siblings.isDeleted;
  const title = origin.kind === "generated" ? t("Seed {seed}", { seed: String(origin.seed) }) : origin.name;
  return html`<div class="inside">
    <${Stage} found=${found} />
    <div class="side">
      <header>
        <h2 id="viewer-title">${title}</h2>
        <${Act} class="quiet star" aria-pressed=${String(isStarred)} aria-label=${t("Star")} act=${() => results.star([result.id], !isStarred)}>${isStarred ? "★" : "☆"}<//>
        <button type="button" class="quiet close" aria-label=${t("Close")} onClick=${() => dialog.close()}>×</button>
      </header>
      <${Facts} found=${found} />
      ${!found.is_missing && html`<${Actions} found=${found} />`}
      <details class="more"><summary>${t("The whole record")}</summary><pre tabindex="0">${JSON.stringify(result, null, 2)}</pre></details>
      ${isGone
        ? html`<${Act} class="restore" act=${async () => (await results.restore([result.id]), dialog.close())}>${t("Restore")}<//>`
        : html`<${Act} class="danger" act=${() => remove(result.id)}>${t("Delete")}<//>`}
    </div>
  </div>`;
}
