// Gallery: every stored result, however many; search by typed fields.

import { api, attempt, h, query, t } from "./kit.js";
import { Form, folded } from "./forms.js";
import * as state from "./state.js";
import { go, reachable, tile, tileGrid } from "./pictures.js";

const PER_PAGE = 100;

export function create() {
  const { families, enhancers, sections } = state.schema;
  const styles = () => [...new Set(state.models.flatMap((model) => model.styles))].sort();
  const form = new Form(sections.find, {
    primary: ["sort_by", "family", "style", "first_seed", "last_seed"],
    hidden: ["limit"],
    blank: t("any"),
    none: t("any"),
    suggestions: { style: styles }, // of a model that is here no more, results may still be
    choices: {
      family: () => Object.keys(families),
      enhancer: () => enhancers,
      model_digest: () => state.models.map((one) => [one.digest, `${one.name} · ${one.family}`]),
    },
  });
  const count = h("p", { class: "count", role: "status" });
  const fresh = h("button", { type: "button", class: "pill", hidden: true });
  const grid = tileGrid(t("Results"), { class: "tiles chunks" });
  const end = h("div", { class: "end" });
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const search = h(
    "form",
    { class: "panel search", role: "search", "aria-label": t("Search") },
    h(
      "details",
      { open: !matchMedia("(max-width: 860px)").matches },
      h("summary", {}, t("Search fields")),
      form.main,
      folded(t("More fields"), form.more),
      h(
        "div",
        { class: "foot" },
        fault,
        h("button", { class: "main", type: "submit" }, t("Search")),
        h("button", { type: "button", onclick: () => go("gallery") }, t("Clear")),
      ),
    ),
  );

  let wanted = {}; // what is searched for
  let pages = [];
  let cursor = null;
  let isLoading = false;
  let isWhole = false;
  let turn = 0; // a search that was overtaken by another is forgotten
  let seen = 0;
  let number = 0;
  let isRenewing = false;

  const isShown = (id) => wanted.deleted || !state.isHidden(id);
  const ids = () => pages.flatMap((page) => page.ids).filter(isShown);

  // Pages far from what is seen are emptied and keep their height, so tens of thousands of
  // pictures never stand in the document together.
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        const page = target.page;
        if (isIntersecting) fill(page);
        else if (page.isFilled && !target.contains(document.activeElement)) empty(page);
      }
    },
    { rootMargin: "1500px" },
  );
  const bottom = new IntersectionObserver((entries) => entries[0].isIntersecting && next(), { rootMargin: "1200px" });
  bottom.observe(end);

  function fill(page) {
    if (page.isFilled) return;
    page.isFilled = true;
    page.element.style.minHeight = "";
    page.element.replaceChildren(...page.ids.filter(isShown).map((id) => tile(id, ids)));
    reachable(grid);
  }

  function empty(page) {
    page.element.style.minHeight = `${page.element.offsetHeight}px`;
    page.element.replaceChildren();
    page.isFilled = false;
  }

  async function start() {
    turn += 1;
    const mine = turn;
    ids.isDeleted = wanted.deleted === "only";
    seen = state.newestResult;
    fresh.hidden = true;
    fault.hidden = true;
    pages = [];
    cursor = null;
    isWhole = isLoading = false;
    near.disconnect();
    try {
      const address = query(wanted);
      const [first, all] = await Promise.all([
        api(`results?${query({ ...wanted, limit: PER_PAGE })}`),
        api(`results/count?${address}`),
      ]);
      if (mine !== turn) return;
      grid.replaceChildren();
      number = all;
      tellCount();
      add(first);
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    }
  }

  function tellCount() {
    count.textContent = number ? t("{n} pictures", { n: number }) : t("No picture fits.");
  }

  async function next() {
    if (isLoading || isWhole || cursor === null) return;
    isLoading = true;
    const mine = turn;
    await attempt(async () => {
      const page = await api(`results?${query({ ...wanted, limit: PER_PAGE, cursor })}`);
      if (mine === turn) add(page);
    });
    isLoading = false;
    if (mine === turn && end.getBoundingClientRect().top < innerHeight + 1200) next();
  }

  function add(found) {
    cursor = found.next;
    isWhole = found.next === null;
    const element = h("div", { class: "chunk" });
    const page = { element, ids: found.results.map((one) => one.result.id), isFilled: false };
    element.page = page;
    pages.push(page);
    grid.append(element);
    fill(page);
    near.observe(element);
  }

  /** Put what was kept meanwhile before what is shown, which stays as it is. */
  async function renew() {
    if (isRenewing) return;
    isRenewing = true;
    const [mine, upTo] = [turn, state.newestResult];
    await attempt(async () => {
      const [newest, all] = await Promise.all([
        api(`results?${query({ ...wanted, limit: PER_PAGE })}`),
        api(`results/count?${query(wanted)}`),
      ]);
      if (mine !== turn) return;
      const known = new Set(pages.flatMap((page) => page.ids));
      const come = newest.results.map((one) => one.result.id).filter((id) => !known.has(id));
      seen = upTo;
      if (!pages.length || come.length === PER_PAGE || pages[0].ids.length > 3 * PER_PAGE) return start();
      pages[0].ids.unshift(...come);
      if (pages[0].isFilled) pages[0].element.prepend(...come.filter(isShown).map((id) => tile(id, ids)));
      reachable(grid);
      number = all;
      tellCount();
    });
    await new Promise((go) => setTimeout(go, 1000));
    isRenewing = false;
    if (grid.isConnected) offerNew();
  }

  /** What was kept meanwhile appears where nobody is busy further down; else it is offered. */
  function offerNew() {
    const more = state.newestResult - seen;
    const isFree = scrollY < 200 && !grid.contains(document.activeElement) && !document.querySelector("dialog[open]");
    const isNewestFirst = (wanted.sort_by ?? "newest") === "newest";
    fresh.hidden = more <= 0;
    fresh.textContent = t("Show {n} new pictures", { n: Math.max(0, more) });
    if (more > 0 && isFree && isNewestFirst) renew();
  }

  search.addEventListener("submit", (event) => {
    event.preventDefault();
    go("gallery", form.values());
  });
  fresh.addEventListener("click", () => (scrollTo(0, 0), start()));
  document.addEventListener("results-changed", ({ detail: { removed, restored } }) => {
    if (restored.length || wanted.deleted) return start();
    attempt(async () => ((number = await api(`results/count?${query(wanted)}`)), tellCount()));
    for (const id of removed) grid.querySelector(`[data-id="${id}"]`)?.remove();
    reachable(grid);
  });

  return {
    element: h("div", { class: "two" }, search, h("section", { class: "results", "aria-label": t("Results") }, h("div", { class: "bar" }, count, fresh), grid, end)),
    update: () => {
      form.refresh();
      offerNew();
    },
    show: (values) => {
      const known = Object.fromEntries(Object.entries(values).filter(([name]) => name in sections.find.properties));
      const isSame = query(known) === query(wanted) && pages.length && state.newestResult === seen;
      wanted = known;
      const typed = Object.entries(known).map(([name, value]) => [name, isNumber(name) ? Number(value) : value]);
      form.set(Object.fromEntries(typed));
      if (!isSame) start();
    },
  };

  function isNumber(name) {
    const field = sections.find.properties[name];
    return [field, ...(field.anyOf ?? [])].some((one) => ["integer", "number"].includes(one.type));
  }
}
