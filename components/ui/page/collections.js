// A collection looked through: what was found in each picture, and what a person chose for it.

import { api, attempt, h, submit, t, toast, told, upload } from "./kit.js";
import * as state from "./state.js";
import { go } from "./pictures.js";
import { did } from "./undo.js";
import { Act, Dialog, html, useEffect, useMemo, useRef, useState, view } from "./views.js";

const FILTERS = { "": () => true, attention: (one) => one.state !== "ready", excluded: (one) => one.choice.is_excluded };

const STATES = { ready: "Ready", attention: "Needs attention", blocked: "Blocked" };

/** One finding in plain words. */
const said = ({ kind, detail }) =>
  ({
    unusable: () => t("Cannot be read: {detail}", { detail }),
    "exact duplicate": () => t("The same file as {detail}", { detail }),
    "near duplicate": () => t("Looks the same as {detail}", { detail }),
    cropped: () => t("{detail} of it is cut off; choose what is kept", { detail }),
    small: () => t("Small ({detail}): it is enlarged to learn from", { detail }),
    few: () => t("Only {detail} pictures: with 50 or more, a model learns more than copies", { detail }),
    unbalanced: () => t("Unbalanced styles: {detail}", { detail }),
  })[kind]();

// ---------------------------------------------------------------- taking one in

/** The files of a drop, those in folders too, as [file, path]. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => [file, file.name]);
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      const file = await new Promise((done, failed) => entry.file(done, failed));
      found.push([file, entry.fullPath.slice(1)]);
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((done, failed) => reader.readEntries(done, failed));
      if (!some.length) return;
      for (const one of some) await walk(one);
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

const isArchive = (name) => /\.(zip|tar|tgz|gz|bz2|xz)$/i.test(name);

/** Send pictures or one archive; the folder that a picture lies in is its style. */
async function takeIn(files, tell) {
  if (files.length === 1 && isArchive(files[0][1])) {
    tell(t("Sending {name}…", { name: files[0][1] }));
    const sent = await upload(files[0][0], files[0][1]);
    return api("collections", { method: "POST", json: { archive: sent.id } });
  }
  const pictures = [];
  const refused = [];
  for (const [file, path] of files) {
    if (!/\.(jpe?g|png|webp|avif|tiff?|bmp|gif)$/i.test(path)) continue;
    if (path.split("/").at(-1).startsWith(".")) continue;
    tell(t("Sending {done} of {total}", { done: pictures.length + 1, total: files.length }));
    const sent = await upload(file, file.name).catch((error) => refused.push(`${path}: ${told(error.message)}`) && null);
    if (sent) pictures.push({ upload: sent.id, style: path.split("/").length > 2 ? path.split("/").at(-2) : "" });
  }
  if (!pictures.length) throw new Error(refused[0] ?? t("There is no picture in it."));
  if (refused.length) toast(t("{n} files are left out: {first}", { n: refused.length, first: refused[0] }), { kind: "bad" });
  const folder = files[0][1].includes("/") ? files[0][1].split("/")[0] : t("My pictures");
  return api("collections", { method: "POST", json: { name: folder, pictures } });
}

/** Where a collection is dropped, chosen, or named by its path; `ontaken` is given its offer. */
export function dropCollection(ontaken) {
  const note = h("p", { class: "help", role: "status" });
  const take = (files) =>
    attempt(async () => {
      try {
        const offer = await takeIn(files, (text) => (note.textContent = text));
        await state.loadOffers();
        ontaken(offer);
      } finally {
        note.textContent = "";
      }
    });
  const chooser = (text, props) => {
    const input = h("input", { type: "file", multiple: true, "aria-label": text, onchange: () => (take([...input.files].map((file) => [file, file.webkitRelativePath || file.name])), (input.value = "")) });
    for (const [name, value] of Object.entries(props)) input.setAttribute(name, value);
    return h("label", { class: "drop" }, text, input);
  };
  const pictures = chooser(t("Drop a folder, pictures or a zip here, or choose pictures"), { accept: "image/*,.zip,.tar,.tgz,.gz,.bz2,.xz" });
  pictures.addEventListener("dragover", (event) => (event.preventDefault(), pictures.classList.add("over")));
  pictures.addEventListener("dragleave", () => pictures.classList.remove("over"));
  pictures.addEventListener("drop", (event) => {
    event.preventDefault();
    pictures.classList.remove("over");
    attempt(async () => take(await filesOf(event.dataTransfer)));
  });
  const path = h("input", { type: "text", placeholder: t("/home/me/pictures"), "aria-label": t("Path of a folder on this machine") });
  const name = async () => {
    const offer = await api("collections", { method: "POST", json: { path: path.value.trim() } });
    await state.loadOffers();
    ontaken(offer);
  };
  const named = h("details", { class: "more" }, h("summary", {}, t("Choose or name a folder")), chooser(t("Choose a folder"), { webkitdirectory: "" }), h("div", { class: "with-button" }, path, h("button", { type: "button", class: "worded", onclick: () => attempt(name) }, t("Take"))));
  return h("div", { class: "fields" }, pictures, note, named);
}

// ---------------------------------------------------------------- looking through one

/** The square of a picture that is learnt from, pulled about with the pointer. */
function Crop({ picture, src, crop, onchange }) {
  const place = useRef(null);
  const side = Math.min(picture.width, picture.height);
  const [left, upper, size] = crop ?? [Math.floor((picture.width - side) / 2), Math.floor((picture.height - side) / 2), side];
  const move = (event) => {
    if (!(event.buttons & 1)) return;
    const box = place.current.getBoundingClientRect();
    const within = (share, whole) => Math.round(Math.min(whole - size, Math.max(0, share * whole - size / 2)));
    onchange([within((event.clientX - box.left) / box.width, picture.width), within((event.clientY - box.top) / box.height, picture.height), size]);
  };
  const share = (value, whole) => `${(100 * value) / whole}%`;
  const shown = { left: share(left, picture.width), top: share(upper, picture.height), width: share(size, picture.width), height: share(size, picture.height) };
  const resize = (event) => {
    const now = Math.max(16, Math.round((side * Number(event.target.value)) / 100));
    onchange([Math.min(left, picture.width - now), Math.min(upper, picture.height - now), now]);
  };
  return html`<div class="cropper" ref=${place} onPointerDown=${move} onPointerMove=${move}><img src=${src} alt=${picture.name} draggable=${false} /><div class="kept" style=${shown}></div></div>
    <label>${t("Size of the square")} <input type="range" min="10" max="100" value=${Math.round((100 * size) / side)} onInput=${resize} /></label>
    <label>${t("From the left")} <input type="range" min="0" max=${picture.width - size} value=${left} onInput=${(event) => onchange([Number(event.target.value), upper, size])} /></label>
    <label>${t("From the top")} <input type="range" min="0" max=${picture.height - size} value=${upper} onInput=${(event) => onchange([left, Number(event.target.value), size])} /></label>`;
}

function Details({ picture, src, styles, onkeep, onclose }) {
  const [choice, setChoice] = useState(picture.choice);
  const before = picture.choice.style ?? picture.style;
  const [style, setStyle] = useState(before);
  const keep = async () => {
    await onkeep({ [picture.name]: style === before ? choice : { ...choice, style: style.trim() || null } });
    onclose();
  };
  return html`<${Dialog} title=${picture.name} onclose=${onclose}>
    <div class="stack">
      ${picture.findings.map((one) => html`<p class="finding">${said(one)}</p>`)}
      <${Crop} picture=${picture} src=${src} crop=${choice.crop} onchange=${(crop) => setChoice({ ...choice, crop })} />
      <label>${t("Style")} <input type="text" maxlength="80" list="styles" value=${style} onInput=${(event) => setStyle(event.target.value)} /></label>
      <datalist id="styles">${styles.map((one) => html`<option value=${one} />`)}</datalist>
      <div class="row small">
        <${Act} class="main" act=${keep}>${t("Keep")}<//>
        <button type="button" onClick=${() => setChoice({ ...choice, crop: null })}>${t("The middle again")}</button>
        <button type="button" onClick=${() => setChoice({ ...choice, is_excluded: !choice.is_excluded })}>${choice.is_excluded ? t("Restore") : t("Exclude")}</button>
      </div>
    </div>
  <//>`;
}

function Picture({ id, picture, onopen, ontoggle }) {
  const { name, number, choice, findings } = picture;
  const shown = choice.is_excluded ? "excluded" : picture.state;
  const what = [name, choice.is_excluded && t("excluded"), ...findings.map(said)].filter(Boolean).join(". ");
  return html`<li class="found" data-state=${shown} data-name=${name}>
    <button type="button" class="tile" aria-label=${what} title=${what} disabled=${number === null} onClick=${onopen}>
      ${number === null ? html`<span>${t("unreadable")}</span>` : html`<img src=${thumbnail(id, number)} alt="" loading="lazy" />`}
    </button>
    ${number !== null && html`<button type="button" class="exclude" aria-label=${choice.is_excluded ? t("Restore {name}", { name }) : t("Exclude {name}", { name })} onClick=${ontoggle}>${choice.is_excluded ? "↺" : "×"}</button>`}
  </li>`;
}

const thumbnail = (id, number) => `/api/v1/collections/${id}/pictures/${number}/thumbnail`;

const MOST_PICTURES = 20_000; // that the server tells of at once

const inspectionOf = (id) => state.newestFirst().find((job) => job.kind === "inspect" && job.order.collection === id);

/** What was found; a collection that nobody inspected yet is inspected first. */
function useFindings(id) {
  const [found, setFound] = useState(null);
  const [fault, setFault] = useState("");
  const [isAwaited, setAwaited] = useState(false); // an inspection that makes it known
  const job = inspectionOf(id);
  const load = async () => setFound(await api(`collections/${id}/pictures?limit=${MOST_PICTURES}`));
  const safely = (what) => what().catch((error) => setFault(error.message));
  const look = () =>
    safely(async () => {
      setFault("");
      try {
        await load();
      } catch (error) {
        if (error.status !== 404) throw error;
        const last = inspectionOf(id);
        if (!last || state.ENDED.has(last.state)) state.take(await submit({ kind: "inspect", collection: id }));
        setAwaited(true);
      }
    });
  useEffect(() => void look(), []);
  useEffect(() => {
    if (!isAwaited || job?.state !== "done") return;
    setAwaited(false);
    safely(load);
  }, [isAwaited, job?.state]);
  return { found, fault: fault || (isAwaited && job?.error ? told(job.error) : ""), load, look };
}

function Collection({ id }) {
  const { found, fault, load, look } = useFindings(id);
  const [filter, setFilter] = useState("");
  const [open, setOpen] = useState(null);
  const offer = state.collections.find((one) => one.id === id);
  const shown = useMemo(() => found?.pictures.filter(FILTERS[filter]).map((one) => html`<${Picture} key=${one.name} id=${id} picture=${one} onopen=${() => setOpen(one.name)} ontoggle=${() => attempt(() => toggle(one))} />`), [found, filter]);
  if (fault) return html`<p class="fault" role="alert">${fault} <button type="button" class="link" onClick=${look}>${t("Try again")}</button></p>`;
  if (!found) return html`<p class="empty" role="status">${t("The pictures are looked at …")}</p>`;
  const { pictures } = found;
  const send = (choices) => api(`collections/${id}/choices`, { method: "PATCH", json: { pictures: choices } });
  const reload = () => Promise.all([load(), state.loadOffers()]);
  // Only what changes is sent: of a large collection, not every picture is here.
  const keep = async (changes, text) => {
    const before = Object.fromEntries(pictures.filter(({ name }) => name in changes).map((one) => [one.name, one.choice]));
    await send(changes);
    // Before it is seen: who sees it may undo it at once.
    did(text ?? t("Kept; the files themselves are as they were."), () => send(before).then(reload));
    await reload();
  };
  const toggle = ({ name, choice }) => keep({ [name]: { ...choice, is_excluded: !choice.is_excluded } }, choice.is_excluded ? t("Restored.") : t("Excluded; the file itself stays."));
  const repeats = pictures.filter(({ choice, findings }) => !choice.is_excluded && findings.some(({ kind }) => kind.endsWith("duplicate")));
  const without = () => keep(Object.fromEntries(repeats.map((one) => [one.name, { ...one.choice, is_excluded: true }])), t("{n} duplicates are left out.", { n: repeats.length }));
  const names = { "": t("All"), attention: t(STATES.attention), excluded: t("Excluded") };
  const picture = pictures.find((one) => one.name === open);
  return html`<section class="collection stack" aria-label=${offer?.name ?? t("Collection")}>
    <header class="names"><h2>${offer?.name}</h2><span class="badge" data-state=${found.state}>${t(STATES[found.state])}</span></header>
    ${found.findings.map((one) => html`<p class="finding">${said(one)}</p>`)}
    <div class="row small">
      ${Object.entries(FILTERS).map(([kind, fits]) => html`<button type="button" aria-pressed=${String(filter === kind)} onClick=${() => setFilter(kind)}>${names[kind]} · ${pictures.filter(fits).length}</button>`)}
      ${repeats.length > 0 && html`<${Act} act=${without}>${t("Leave out {n} duplicates", { n: repeats.length })}<//>`}
      <button type="button" class="main" onClick=${() => go("train", { collection: id })}>${t("Train with it")}</button>
    </div>
    ${found.num_pictures > pictures.length && html`<p class="notice">${t("Only {n} of {total} pictures are shown, those that need attention first.", { n: pictures.length, total: found.num_pictures })}</p>`}
    <ul class="found-grid">${shown}</ul>
    ${picture && html`<${Details} key=${picture.name} picture=${picture} src=${thumbnail(id, picture.number)} styles=${Object.keys(offer?.images_per_style ?? {})} onkeep=${keep} onclose=${() => setOpen(null)} />`}
  </section>`;
}

const Collections = ({ values }) => (values.id ? html`<${Collection} key=${values.id} id=${values.id} />` : null);

export const create = () => view(Collections);
