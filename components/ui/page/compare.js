// Compare: a picture and its enlargement under a slider; the way between two seeds as a strip.

import { api, attempt, h, query, submit, t, upload } from "./kit.js";
import { Form } from "./forms.js";
import * as state from "./state.js";
import { go, jobHead, modelName, reachable, settingsOf, tile, tileGrid } from "./pictures.js";
import { dropPlace } from "./inputs.js";

/** Two pictures one over the other, and how far each is seen. */
function makeSlider() {
  const after = h("img", { alt: t("Enlargement") });
  const before = h("img", { alt: t("Original"), class: "before" });
  const range = h("input", { type: "range", min: "0", max: "100", value: "50", "aria-label": t("How much of the original is seen") });
  const frame = h("div", { class: "slider" }, after, before, h("div", { class: "handle" }), h("span", { class: "tag left" }, t("Original")), h("span", { class: "tag right" }, t("Enlargement")));
  const show = () => frame.style.setProperty("--at", `${range.value}%`);
  range.addEventListener("input", show);
  const drag = (event) => {
    if (!(event.buttons & 1)) return;
    const box = frame.getBoundingClientRect();
    range.value = String(((event.clientX - box.left) / box.width) * 100);
    show();
  };
  frame.addEventListener("pointerdown", drag);
  frame.addEventListener("pointermove", drag);
  for (const image of [before, after]) image.draggable = false;
  show();
  const element = h("div", { hidden: true }, frame, range);
  return {
    element,
    show: (original, enlarged) => {
      before.src = original;
      after.src = enlarged;
      element.hidden = false;
    },
  };
}

export function create() {
  const slider = makeSlider();
  const enlarge = new Form(state.schema.sections.enhance, {
    primary: ["scale", "enhancer", "strength"],
    choices: {
      scale: () => state.schema.sections.enhance.properties.scale.enum.filter((n) => n > 1).map((n) => [n, `×${n}`]),
      enhancer: () => state.schema.enhancers,
    },
  });
  const head = jobHead();
  const working = h("div", { class: "card", hidden: true }, head.element);
  const hint = h("p", { class: "empty" }, t("Open a result and press Compare, or drop a picture of your own to enlarge it."));
  let awaited = null; // { job, done }

  function wait(job, done) {
    awaited = { id: job.id, done };
    state.take(job);
    update();
  }

  async function enlargeFile(file) {
    const sent = await upload(file, file.name);
    if (sent.kind !== "picture") throw new Error(t("{name} is no picture.", { name: file.name }));
    const original = URL.createObjectURL(file);
    const job = await submit({ kind: "enhance", uploads: [sent.id], enhance: enlarge.values() });
    wait(job, (id) => slider.show(original, `/api/v1/results/${id}/file`));
  }

  /** A result beside the same seed of the same model as it came out of the network. */
  async function compareResult(id) {
    const { result } = await api(`results/${id}`);
    const { origin, enhancement } = result.record;
    const enlarged = `/api/v1/results/${id}/file`;
    if (origin.kind !== "generated") throw new Error(t("That picture is a file of yours; drop the file here to compare it."));
    if (enhancement.scale === 1) {
      const job = await submit({ kind: "enhance", results: [result.id], enhance: enlarge.values() });
      wait(job, (made) => slider.show(enlarged, `/api/v1/results/${made}/file`));
      return;
    }
    const same = { model_digest: origin.model_digest, first_seed: origin.seed, last_seed: origin.seed, limit: 100 };
    const found = (await api(`results?${query(same)}`)).results.find(
      ({ result: other }) => other.record.enhancement.scale === 1 && JSON.stringify(other.record.origin.options) === JSON.stringify(origin.options) && other.record.origin.style === origin.style,
    );
    if (found) return slider.show(`/api/v1/results/${found.result.id}/file`, enlarged);
    const model = state.modelByDigest(origin.model_digest);
    if (!model) throw new Error(t("Its model is no longer here, so the original cannot be made again."));
    const { generate } = settingsOf(result);
    const job = await submit({ kind: "generate", model: model.id, choices: { generate, enhance: { scale: 1 } } });
    wait(job, (made) => slider.show(`/api/v1/results/${made}/file`, enlarged));
  }

  // ------------------------------------------------------------ between two seeds

  const model = h("select", { id: "between-model" });
  const number = (id, value, max) => h("input", { type: "number", id, value: String(value), min: "0", max: String(max), required: true });
  const [from, to, frames] = [number("between-from", 0, Number.MAX_SAFE_INTEGER), number("between-to", 1, Number.MAX_SAFE_INTEGER), number("between-frames", 12, 240)];
  const field = (text, control) => h("div", { class: "field" }, h("div", { class: "title" }, h("label", { for: control.id }, text)), control);
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const form = h(
    "form",
    { class: "card stack", "aria-label": t("Between two seeds") },
    h("h2", {}, t("Between two seeds")),
    field(t("Model"), model),
    h("div", { class: "row" }, field(t("From seed"), from), field(t("To seed"), to), field(t("Pictures between"), frames), h("button", { type: "submit", class: "main" }, t("Interpolate"))),
    fault,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.hidden = true;
    const order = { kind: "interpolate", model: model.value, between: `${from.value},${to.value}`, frames: Number(frames.value), choices: { enhance: { scale: 1 } } };
    try {
      state.take(await submit(order));
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    }
  });

  const wayHead = jobHead();
  const strip = tileGrid(t("The way between"), { class: "strip" });
  const large = h("img", { alt: t("A picture on the way"), class: "small" });
  const along = h("input", { type: "range", min: "0", value: "0", "aria-label": t("How far along the way") });
  const stage = h("div", { class: "grid", hidden: true }, h("div", { class: "range" }, along), large);
  const way = h("div", { class: "card stack", hidden: true }, wayHead.element, strip, stage);
  let frameIds = [];
  const tiles = new Map();
  const showFrame = () => {
    const id = frameIds[Number(along.value)];
    if (id !== undefined) large.src = `/api/v1/results/${id}/file`;
  };
  along.addEventListener("input", showFrame);

  function update() {
    const fitting = state.models.filter((one) => !one.needs.length);
    const key = fitting.map((one) => one.id).join();
    if (model.dataset.key !== key) {
      const had = model.value;
      model.dataset.key = key;
      model.replaceChildren(...fitting.map((one) => h("option", { value: one.id }, modelName(one))));
      if (fitting.some((one) => one.id === had)) model.value = had;
    }
    const job = awaited && state.jobs.get(awaited.id);
    working.hidden = !job;
    hint.hidden = Boolean(job) || !slider.element.hidden;
    if (job) {
      head.update(job);
      if (job.state === "done" && job.results.length) {
        const { done } = awaited;
        awaited = null;
        working.hidden = hint.hidden = true;
        done(job.results.at(-1));
      }
    }
    const latest = state.newestFirst().find((one) => one.kind === "interpolate");
    way.hidden = !latest;
    if (!latest) return;
    wayHead.update(latest);
    const kept = latest.results.filter((id) => !state.isHidden(id));
    if (kept.join() === frameIds.join()) return;
    frameIds = kept;
    strip.replaceChildren(
      ...frameIds.map((id) => {
        if (!tiles.has(id)) tiles.set(id, tile(id, () => frameIds));
        return tiles.get(id);
      }),
    );
    reachable(strip);
    along.max = String(frameIds.length - 1);
    stage.hidden = frameIds.length < 2;
    showFrame();
  }

  const own = h(
    "section",
    { class: "card stack", "aria-label": t("Original and enlargement") },
    h("h2", {}, t("Original and enlargement")),
    h("div", { class: "row choice-row" }, ...[...enlarge.main.children]),
    dropPlace(t("Drop a picture here to enlarge it, or choose one"), "image/*", enlargeFile),
    working,
    slider.element,
    hint,
    h("button", { type: "button", class: "link", onclick: () => go("gallery") }, t("Choose a result in the gallery")),
  );
  return {
    element: h("div", { class: "one" }, own, form, way),
    update,
    show: ({ result }) =>
      result &&
      attempt(async () => {
        history.replaceState(null, "", "#/compare");
        await compareResult(Number(result));
        update();
      }),
  };
}
