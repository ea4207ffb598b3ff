// Jobs: two queues outside the page, quick work beside long trainings; what runs, waits, was done.

import { api, attempt, h, t, told, when } from "./kit.js";
import * as state from "./state.js";
import { go, jobHead, put } from "./pictures.js";

export function create() {
  const queues = { quick: makeQueue(t("Quick work")), long: makeQueue(t("Trainings")) };
  const past = h("div", { class: "cards" });
  const older = h("button", { type: "button", class: "link", hidden: state.jobs.size < 100, onclick: () => attempt(more) }, t("Older jobs"));
  const done = h("section", { "aria-label": t("Done") }, h("h2", {}, t("Done")), past, older);
  const rows = new Map();

  async function more() {
    older.hidden = (await state.loadOlderJobs()) === 0;
  }

  function row(job) {
    const head = jobHead();
    const move = (by) => () => attempt(() => api(`jobs/${job.id}/move`, { method: "POST", json: { by } }));
    const up = h("button", { type: "button", "aria-label": t("Move job {id} up", { id: String(job.id) }), onclick: move(-1) }, "↑");
    const down = h("button", { type: "button", "aria-label": t("Move job {id} down", { id: String(job.id) }), onclick: move(1) }, "↓");
    const order = h("div", { class: "order" }, up, down);
    const date = h("p", { class: "line" });
    const look = h("button", { type: "button", class: "link" });
    const list = h("ul", { class: "told" });
    let shown = null;
    const history = h("details", { class: "more" }, h("summary", {}, t("Messages")), list);
    history.addEventListener("toggle", () => history.open && attempt(() => loadLines(job.id)));
    look.addEventListener("click", () => {
      const current = state.jobs.get(job.id);
      if (state.makesPictures(current)) go("gallery", { run: current.run });
      else go("train", { job: job.id });
    });
    const element = h("article", { class: "card job" }, h("div", { class: "ranked" }, order, head.element), h("div", { class: "under" }, date, look), history);
    const update = (current) => {
      head.update(current);
      order.hidden = current.state !== "waiting";
      up.disabled = current.position === 1;
      date.textContent = when(current.ended_at ?? current.started_at ?? current.created_at);
      const isPictures = state.makesPictures(current);
      look.hidden = isPictures ? !current.num_results || !current.run : !["inspect", "train"].includes(current.kind);
      look.textContent = isPictures ? t("{n} pictures", { n: current.num_results }) : t("Look");
      const said = state.lines.get(current.id) ?? [];
      if (shown !== said) {
        shown = said;
        list.replaceChildren(...said.map(({ kind, line }) => h("li", { class: kind }, told(line))));
      }
    };
    return { element, update };
  }

  async function loadLines(id) {
    const found = [];
    const job = state.jobs.get(id);
    if (!state.ENDED.has(job.state)) return; // its stream goes on; what comes is heard anyway
    const text = await (await fetch(`/api/v1/jobs/${id}/events`)).text();
    for (const line of text.split("\n")) {
      if (!line.startsWith("data: ")) continue;
      const event = JSON.parse(line.slice(6));
      if (["said", "warned"].includes(event.kind)) found.push({ kind: event.kind, line: event.data.line });
    }
    state.lines.set(id, found.length ? found.slice(-200) : [{ kind: "said", line: t("No messages.") }]);
    update();
  }

  function place(parent, jobs) {
    jobs.forEach((job, n) => {
      if (!rows.has(job.id)) rows.set(job.id, row(job));
      const { element, update: renew } = rows.get(job.id);
      renew(job);
      put(parent, element, n);
    });
    while (parent.children.length > jobs.length) parent.lastChild.remove();
  }

  /** Draw anew; the keyboard stays on its card, which may go to another list and lose what was pressed. */
  function update() {
    const before = document.activeElement;
    const card = before?.closest(".job");
    arrange();
    const isFit = (one) => card.contains(one) && !one.disabled && one.checkVisibility();
    if (!card?.isConnected || isFit(document.activeElement)) return;
    [before, card.querySelector(".stops button"), card.querySelector("h3")].find((one) => one && isFit(one)).focus();
  }

  function arrange() {
    const all = state.newestFirst();
    const rank = (job) => (state.isActive(job) ? 0 : job.state === "waiting" ? 1 : 2);
    const current = all.filter((job) => !state.ENDED.has(job.state));
    current.sort((a, b) => rank(a) - rank(b) || (a.position ?? 0) - (b.position ?? 0) || b.id - a.id);
    for (const [lane, { list, nothing }] of Object.entries(queues)) {
      const its = current.filter((job) => job.lane === lane);
      nothing.hidden = its.length > 0;
      place(list, its);
    }
    place(past, all.filter((job) => state.ENDED.has(job.state)));
    done.hidden = !past.children.length && older.hidden;
  }

  return {
    element: h(
      "div",
      { class: "one" },
      queues.quick.element,
      queues.long.element,
      done,
    ),
    update,
    show: () => update(),
  };
}

function makeQueue(title) {
  const list = h("div", { class: "cards" });
  const nothing = h("p", { class: "empty" }, t("Nothing runs and nothing waits."));
  return { list, nothing, element: h("section", { "aria-label": title }, h("h2", {}, title), nothing, list) };
}
