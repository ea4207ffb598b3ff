// Sketch: draw on a canvas or drop a picture, and get variations of it.

import { attempt, h, keyOf, remember, remembered, submit, t, told, upload } from "./kit.js";
import * as state from "./state.js";
import { ChoiceForm } from "./generate.js";
import { decoded, dropPlace, dropsAt, pointOn } from "./inputs.js";
import { jobCards } from "./pictures.js";

const SIDE = 512;
const PEN = "#1a1a1a";

/** What is on the canvas: strokes and pictures one over the other, the last first to be undone. */
function makeEasel(onchange) {
  const canvas = h("canvas", { width: SIDE, height: SIDE, tabindex: "0", role: "img", "aria-label": t("Canvas to draw on; a picture can be dropped here") });
  const pen = canvas.getContext("2d");
  let layers = [];
  let stroke = null;
  const tool = { width: 6, isEraser: false };

  function line(layer) {
    pen.strokeStyle = pen.fillStyle = layer.isEraser ? "#fff" : PEN;
    pen.lineWidth = layer.width;
    pen.lineCap = pen.lineJoin = "round";
    const [[x, y], ...rest] = layer.points;
    pen.beginPath();
    pen.moveTo(x, y);
    for (const [toX, toY] of rest.length ? rest : [[x + 0.01, y]]) pen.lineTo(toX, toY);
    pen.stroke();
  }

  function redraw() {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, SIDE, SIDE);
    for (const layer of layers) {
      if (layer.points) line(layer);
      else pen.drawImage(layer.image, 0, 0, SIDE, SIDE);
    }
  }

  function changed() {
    redraw();
    const kept = layers.map(({ points, width, isEraser, url }) => ({ points, width, isEraser, url }));
    remember("sketch", JSON.stringify(kept).length < 3_000_000 ? kept : []);
    onchange();
  }

  const point = (event) => pointOn(canvas, event).map((share) => Math.round(share * SIDE * 10) / 10);
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    stroke = { points: [point(event)], ...tool };
    layers.push(stroke);
    line(stroke);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) stroke.points.push(point(one));
    line({ ...stroke, points: stroke.points.slice(-8) });
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, () => {
      if (stroke) (stroke = null), changed();
    });
  }

  /** Lay a picture over the whole canvas, kept whole on white. */
  async function lay(blob) {
    const bitmap = await decoded(blob);
    const scale = SIDE / Math.max(bitmap.width, bitmap.height);
    const sheet = h("canvas", { width: SIDE, height: SIDE });
    const brush = sheet.getContext("2d");
    brush.fillStyle = "#fff";
    brush.fillRect(0, 0, SIDE, SIDE);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    brush.drawImage(bitmap, (SIDE - width) / 2, (SIDE - height) / 2, width, height);
    layers.push({ image: sheet, url: sheet.toDataURL("image/webp", 0.9) });
    changed();
  }

  async function restore(kept) {
    for (const layer of kept) {
      if (!layer.url) continue;
      layer.image = new Image();
      layer.image.src = layer.url;
      await layer.image.decode();
    }
    layers = kept;
    redraw();
    onchange();
  }
  redraw();

  return {
    canvas,
    restore: () => restore(remembered("sketch") ?? []),
    tool,
    lay,
    undo: () => layers.pop() && changed(),
    clear: () => ((layers = []), changed()),
    isEmpty: () => layers.length === 0,
    png: () => new Promise((done) => canvas.toBlob(done, "image/png")),
  };
}

export function create() {
  const draws = (model) => model.takes.includes("sketch") || model.takes.includes("source");
  const notice = h("p", { class: "notice" }, t("No model here takes a drawing yet. Train one with the preset sketch_64, or adopt one; you can draw already, the sketch is kept."));
  const easel = makeEasel(() => (choice.inputs.follow(false), renew()));
  const use = h("select", { id: "sketch-use" });
  const choice = new ChoiceForm({ fits: draws, besides: () => (use.value ? { [use.value]: easel.png } : {}) });
  const useField = h("div", { class: "field" }, h("div", { class: "title" }, h("label", { for: use.id }, t("The canvas is"))), use);
  const button = h("button", { type: "submit", class: "main go" }, t("Make variations"));
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const form = h("form", { class: "panel", "aria-label": t("Sketch") }, useField, choice.element, h("div", { class: "foot" }, fault, button));
  choice.element.before(useField);

  const width = h("input", { type: "range", min: "1", max: "40", value: "6", "aria-label": t("Width of the pen"), oninput: () => (easel.tool.width = Number(width.value)) });
  const pen = h("button", { type: "button", "aria-pressed": "true", onclick: () => take(false) }, t("Pen"));
  const eraser = h("button", { type: "button", "aria-pressed": "false", onclick: () => take(true) }, t("Eraser"));
  const take = (isEraser) => {
    easel.tool.isEraser = isEraser;
    pen.setAttribute("aria-pressed", String(!isEraser));
    eraser.setAttribute("aria-pressed", String(isEraser));
  };
  const undo = h("button", { type: "button", onclick: easel.undo }, t("Undo"));
  const clear = h("button", { type: "button", onclick: easel.clear }, t("Clear"));
  easel.canvas.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && keyOf(event) === "z") event.preventDefault(), easel.undo();
  });
  dropsAt(easel.canvas, (files) => files[0] && attempt(() => easel.lay(files[0])));

  let offered = "";
  let isSending = false;
  function renew() {
    const model = choice.chosen();
    notice.hidden = state.models.some(draws);
    form.hidden = !notice.hidden;
    button.disabled = isSending || !model || easel.isEmpty();
    undo.disabled = clear.disabled = easel.isEmpty();
    const takes = model ? ["sketch", "source"].filter((name) => model.takes.includes(name)) : [];
    if (takes.join() === offered) return;
    offered = takes.join();
    const names = { sketch: t("a drawing to keep to"), source: t("a picture to rework") };
    use.replaceChildren(...takes.map((name) => h("option", { value: name }, names[name])));
    useField.hidden = takes.length < 2;
    if (model) choice.inputs.suit(model);
  }
  choice.model.addEventListener("change", renew);
  use.addEventListener("change", () => choice.suit());

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.hidden = true;
    isSending = true;
    renew();
    try {
      const file = await upload(await easel.png(), "sketch.png");
      state.take(await submit({ ...(await choice.order()), [use.value]: file.id }));
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    }
    isSending = false;
    renew();
  });

  attempt(easel.restore);
  const cards = jobCards((job) => job.kind === "generate" && Boolean(job.order.sketch ?? job.order.source), 2);
  return {
    element: h(
      "div",
      {},
      notice,
      h(
        "div",
        { class: "two sketching" },
        h("div", { class: "stack" }, form),
        h(
          "div",
          { class: "drawing" },
          h(
            "div",
            { class: "easel" },
            h("div", { class: "brushes" }, pen, eraser, h("label", {}, t("Width"), width), undo, clear),
            easel.canvas,
            dropPlace(t("Drop a picture here, or choose one"), "image/*", easel.lay),
          ),
          cards.element,
        ),
      ),
    ),
    update: () => (choice.offer(), cards.update(), renew()),
    show: ({ from }) =>
      from &&
      attempt(async () => {
        const answer = await fetch(`/api/v1/results/${Number(from)}/file`);
        if (!answer.ok) throw new Error(told((await answer.json()).error));
        await easel.lay(await answer.blob());
        history.replaceState(null, "", "#/sketch"); // so that coming back lays it no second time
      }),
  };
}
