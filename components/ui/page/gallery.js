// Gallery: every stored result, however many; found by words, typed fields, stars and boards.

import { api, attempt, h, query, remember, remembered, t } from "./kit.js";
import { enlargers } from "./enlargers.js";
import { Form } from "./forms.js";
import * as state from "./state.js";
import { go, modelName, openResult } from "./pictures.js";
import { Act, html, Made, useEffect, useRef, useState, view } from "./views.js";
import { Grid } from "./grid.js";
import * as results from "./results.js";

const TYPING_MILLISECONDS = 250;

/** What is searched for, what was found, and what is selected of it. */
const here = { search: null, numbers: [], starred: new Set(), selected: new Set(), boards: [], fault: "", seen: 0, isAsked: false };
let redraw = () => {};
let turn = 0;

async function load() {
  const mine = ++turn;
  const seen = state.newestResult;
  try {
    const [found, boards] = await Promise.all([api(`results/numbers?${query(here.search)}`), api("boards")]);
    if (mine !== turn) return;
    const isShown = (id) => here.search.deleted || !state.isHidden(id);
    here.numbers = found.numbers.filter(isShown);
    here.starred = new Set(found.starred);
    here.boards = boards;
    here.fault = "";
    here.seen = seen;
    const there = new Set(here.numbers);
    for (const id of here.selected) if (!there.has(id)) here.selected.delete(id);
  } catch (error) {
    if (mine !== turn) return;
    here.fault = error.message;
  }
  here.isAsked = true;
  redraw();
}

document.addEventListener("results-changed", () => here.search && load());

/** Search for something else, which the address then says; nothing of it is forgotten elsewhere. */
function search(values) {
  here.search = values;
  sayInAddress();
  remember("gallery", query(values));
  load();
}

const sayInAddress = () => history.replaceState(null, "", `#/gallery${query(here.search) ? `?${query(here.search)}` : ""}`);
const changed = (values) => search({ ...here.search, ...values });
const siblings = Object.defineProperty(() => here.numbers, "isDeleted", { get: () => here.search.deleted === "only" });
const select = (ids) => {
  here.selected = new Set(ids);
  redraw();
};

function filters() {
  const { families, sections } = state.schema;
  const styles = () => [...new Set(state.models.flatMap((model) => model.styles))].sort();
  const form = new Form(sections.find, {
    primary: ["family", "style", "first_seed", "last_seed", "kept_after", "kept_before"],
    hidden: ["limit", "cursor", "numbers", "text", "starred", "board", "sort_by"],
    blank: t("any"),
    none: t("any"),
    blanks: { deleted: t("hidden") },
    suggestions: { style: styles }, // of a model that is here no more, results may still be
    choices: {
      family: () => Object.keys(families),
      enhancer: () => enlargers().filter(([name]) => name !== "auto"),
      model_digest: () => state.models.map((one) => [one.digest, modelName(one)]),
      deleted: () => [["only", t("only these")], ["too", t("shown too")]],
    },
  });
  form.main.append(...form.more.children);
  const apply = (event) => {
    event.preventDefault();
    const { text, starred, board, sort_by } = here.search;
    search({ text, starred, board, sort_by, ...form.values() });
  };
  const element = h("form", { class: "filters", "aria-label": t("Filters"), onsubmit: apply }, form.main, h("div", { class: "row" }, h("button", { class: "main", type: "submit" }, t("Search")), h("button", { type: "button", onclick: () => search({}) }, t("Clear"))));
  return { form, element };
}

function Bar({ fields }) {
  const [isOpen, setOpen] = useState(false);
  const timer = useRef(0);
  const { search: wanted, boards } = here;
  const [text, setText] = useState("");
  useEffect(() => setText(wanted.text ?? ""), [wanted.text]);
  const typed = (event) => {
    const text = event.target.value;
    setText(text); // what is drawn anew meanwhile must not take typed letters away
    clearTimeout(timer.current);
    timer.current = setTimeout(() => changed({ text }), TYPING_MILLISECONDS);
  };
  const numOthers = Object.entries(wanted).filter(([name, value]) => value && !["text", "starred", "board", "sort_by"].includes(name)).length;
  useEffect(() => {
    fields.form.refresh();
    fields.form.set(typedValues(wanted));
  }, [query(wanted)]);
  return html`<div class="search" role="search">
    <input type="search" aria-label=${t("Search everything")} placeholder=${t("Search everything: style, words, model, date, name …")} value=${text} onInput=${typed} />
    <button type="button" aria-pressed=${String(Boolean(wanted.starred))} onClick=${() => changed({ starred: wanted.starred ? undefined : true })}>★ ${t("Starred")}</button>
    <select aria-label=${t("Board")} value=${wanted.board ?? ""} onChange=${(event) => changed({ board: event.target.value || undefined })}>
      <option value="">${t("All boards")}</option>
      ${boards.map(({ name, num_results: n }) => html`<option value=${name}>${name} (${n})</option>`)}
      ${wanted.board && !boards.some(({ name }) => name === wanted.board) && html`<option value=${wanted.board}>${wanted.board}</option>`}
    </select>
    <select aria-label=${t("Order")} value=${wanted.sort_by ?? "newest"} onChange=${(event) => changed({ sort_by: event.target.value })}>
      <option value="newest">${t("Newest first")}</option>
      <option value="drift">${t("Least changed by enlarging first")}</option>
      <option value="originality">${t("Nearest to a training picture first")}</option>
    </select>
    <button type="button" aria-expanded=${String(isOpen)} onClick=${() => setOpen(!isOpen)}>${t("Filters")}${numOthers ? ` · ${numOthers}` : ""}</button>
    <${Made} element=${fields.element} hidden=${!isOpen} class="drawer" />
  </div>`;
}

/** The address holds text; what is a number in the contract becomes one. */
function typedValues(values) {
  const { properties } = state.schema.sections.find;
  const isNumber = (name) => [properties[name], ...(properties[name]?.anyOf ?? [])].some((one) => ["integer", "number"].includes(one?.type));
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, isNumber(name) ? Number(value) : value]));
}

function Selection() {
  const [isMoving, setMoving] = useState(false);
  const [hasRecords, setRecords] = useState(true);
  const board = useRef(null);
  useEffect(() => board.current?.focus(), [isMoving]);
  const chosen = here.numbers.filter((id) => here.selected.has(id));
  if (!chosen.length) return null;
  const areStarred = chosen.every((id) => here.starred.has(id));
  const move = async (event) => {
    event.preventDefault();
    const name = new FormData(event.target).get("board").trim();
    setMoving(false);
    await attempt(() => results.move(chosen, name || null));
  };
  if (here.search.deleted === "only") {
    return html`<div class="selection" role="toolbar" aria-label=${t("Selected pictures")}>
      <strong>${t("{n} selected", { n: chosen.length })}</strong>
      <${Act} act=${() => results.restore(chosen)}>${t("Restore")}<//>
      <button type="button" class="quiet" onClick=${() => select([])}>${t("None")}</button>
    </div>`;
  }
  return html`<div class="selection" role="toolbar" aria-label=${t("Selected pictures")}>
    <strong>${t("{n} selected", { n: chosen.length })}</strong>
    <${Act} act=${() => results.star(chosen, !areStarred)}>${areStarred ? t("Take stars away") : `★ ${t("Star")}`}<//>
    <button type="button" aria-expanded=${String(isMoving)} onClick=${() => setMoving(!isMoving)}>${t("Move to board")}</button>
    <${Act} act=${() => results.download(chosen, hasRecords)}>${t("Download zip")}<//>
    <label class="check"><input type="checkbox" checked=${hasRecords} onChange=${(event) => setRecords(event.target.checked)} />${t("with records")}</label>
    <${Act} act=${() => results.remove(chosen)} class="danger">${t("Delete")}<//>
    <button type="button" class="quiet" onClick=${() => select(here.numbers)}>${t("All {n}", { n: here.numbers.length })}</button>
    <button type="button" class="quiet" onClick=${() => select([])}>${t("None")}</button>
    ${isMoving && html`<form class="boards" onSubmit=${move}>
      <input type="text" name="board" maxlength="100" list="board-names" aria-label=${t("Name of the board; empty: off its board")} placeholder=${t("Name of a board")} ref=${board} />
      <datalist id="board-names">${here.boards.map(({ name }) => html`<option value=${name} />`)}</datalist>
      <button class="main">${t("Move")}</button>
    </form>`}
  </div>`;
}

function Gallery() {
  const [, setTick] = useState(0);
  const [fields] = useState(filters);
  redraw = () => setTick((n) => n + 1);
  useEffect(offerNew);
  const fresh = state.newestResult - here.seen;
  return html`<section class="gallery" aria-label=${t("Results")}>
    <${Bar} fields=${fields} />
    <div class="bar">
      <p class="count" role="status">${counted()}</p>
      ${fresh > 0 && here.isAsked && html`<button type="button" class="pill" onClick=${() => (scrollTo(0, 0), load())}>${t("Show {n} new pictures", { n: fresh })}</button>`}
    </div>
    ${here.fault && html`<p class="fault" role="alert">${here.fault}</p>`}
    ${here.isAsked && !here.numbers.length && !here.fault && html`<${Nothing} />`}
    <${Grid} label=${t("Results")} ids=${here.numbers} starred=${here.starred} selected=${here.selected} onselect=${select}
      onopen=${(id) => openResult(id, siblings)}
      onstar=${(ids) => attempt(() => results.star(ids, !ids.every((id) => here.starred.has(id))))}
      ondelete=${(ids) => attempt(() => results.remove(ids))} />
    <${Selection} />
  </section>`;
}

const counted = () => (!here.isAsked ? " " : t("{n} pictures", { n: here.numbers.length }));

const isNarrow = () => Object.entries(here.search).some(([name, value]) => value && name !== "sort_by");

/** An empty store says how to fill it, an empty search how to widen it. */
const Nothing = () =>
  isNarrow()
    ? html`<p class="empty">${t("No pictures match.")} <button type="button" class="link" onClick=${() => search({})}>${t("Show all")}</button></p>`
    : html`<p class="empty">${t("No pictures yet.")} <button type="button" class="link" onClick=${() => go("generate")}>${t("Make the first ones")}</button></p>`;

const known = (values) => Object.fromEntries(Object.entries(values).filter(([name]) => name in state.schema.sections.find.properties));

/** What was kept meanwhile appears where nobody is busy further down; else it is offered. */
function offerNew() {
  const isFree = scrollY < 200 && !document.activeElement?.closest(".virtual") && !here.selected.size && !document.querySelector("dialog[open]");
  // Not after a fault, which would be drawn and so ask for the next one.
  if (here.isAsked && !here.fault && state.newestResult > here.seen && isFree) load();
}

export function create() {
  const made = view(Gallery);
  return {
    ...made,
    show: (values) => {
      // Whoever comes back without saying what for finds the gallery as they left it.
      const isBare = !Object.keys(values).length;
      if (isBare && here.search) sayInAddress();
      else search(known(isBare ? Object.fromEntries(new URLSearchParams(remembered("gallery") ?? "")) : values));
      made.show(values);
    },
  };
}
