// Files that a model takes beside seeds: one place for each path of IGS, made from the contract.

import { attempt, h, keyOf, label, sentFile, t, upload } from "./kit.js";
import { about, plain } from "./forms.js";

const MOST_SHOWN = 768; // pixels of the longer side on which a mask is drawn

/** A place to drop files at, or to choose some; `take` is given each, or all where `isMany`. */
export function dropPlace(text, accept, take, { isMany = false } = {}) {
  const input = h("input", { type: "file", accept, multiple: isMany, "aria-label": text });
  const place = h("label", { class: "drop" }, text, input);
  const all = (files) => {
    if (isMany) attempt(() => take([...files]));
    else [...files].forEach((file) => attempt(() => take(file)));
  };
  input.addEventListener("change", () => (all([...input.files]), (input.value = "")));
  dropsAt(place, all);
  return place;
}

export function dropsAt(place, all) {
  place.addEventListener("dragover", (event) => (event.preventDefault(), place.classList.add("over")));
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    place.classList.remove("over");
    all(event.dataTransfer.files);
  });
}

/** A picture file as pixels, upright. */
export async function decoded(blob) {
  return createImageBitmap(blob).catch(() => {
    throw new Error(t("That is not a picture this browser can read."));
  });
}

/** Where the pointer is on an element, as shares of its width and height. */
export function pointOn(element, event) {
  const box = element.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

/** Strokes over a picture: what they cover is made anew. */
function makeMasker(onchange) {
  const canvas = h("canvas", { role: "img", tabindex: "0", "aria-label": t("Draw over what is to be made anew") });
  const width = h("input", { type: "range", min: "1", max: "40", value: "12", "aria-label": t("Width of the pen") });
  const undo = h("button", { type: "button", onclick: () => (strokes.pop(), changed()) }, t("Undo"));
  const clear = h("button", { type: "button", onclick: () => ((strokes = []), changed()) }, t("Clear"));
  let strokes = [];
  let stroke = null;
  let picture = null;

  /** All strokes, in white, on a canvas of the picture's shape. */
  function paint(pen) {
    const { width: wide, height: high } = pen.canvas;
    pen.strokeStyle = "#fff";
    pen.lineCap = pen.lineJoin = "round";
    for (const { points, share } of strokes) {
      const [[x, y], ...rest] = points;
      pen.lineWidth = Math.max(1, share * Math.max(wide, high));
      pen.beginPath();
      pen.moveTo(x * wide, y * high);
      for (const [toX, toY] of rest.length ? rest : [[x + 1e-4, y]]) pen.lineTo(toX * wide, toY * high);
      pen.stroke();
    }
  }

  function show() {
    if (!picture) return;
    const pen = canvas.getContext("2d");
    const layer = h("canvas", { width: canvas.width, height: canvas.height });
    paint(layer.getContext("2d"));
    const tint = layer.getContext("2d");
    tint.globalCompositeOperation = "source-in";
    tint.fillStyle = "#e4572e";
    tint.fillRect(0, 0, layer.width, layer.height);
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 0.6;
    pen.drawImage(layer, 0, 0);
    pen.globalAlpha = 1;
    undo.disabled = clear.disabled = !strokes.length;
  }

  function changed() {
    show();
    onchange();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    stroke = { points: [pointOn(canvas, event)], share: Number(width.value) / 100 };
    strokes.push(stroke);
    show();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!stroke) return;
    stroke.points.push(pointOn(canvas, event));
    show();
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, () => stroke && ((stroke = null), changed()));
  }
  canvas.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && keyOf(event) === "z") event.preventDefault(), undo.click();
  });

  return {
    element: h("div", { class: "masker" }, canvas, h("div", { class: "brushes" }, h("label", {}, t("Width"), width), undo, clear)),
    isEmpty: () => !strokes.length,
    clear: () => (strokes = []),
    /** Draw over this picture from now on; strokes stay, since they are shares of its sides. */
    lay: async (blob) => {
      picture = await decoded(blob);
      const scale = Math.min(1, MOST_SHOWN / Math.max(picture.width, picture.height));
      canvas.width = Math.max(1, Math.round(picture.width * scale));
      canvas.height = Math.max(1, Math.round(picture.height * scale));
      show();
    },
    /** White where it is made anew, black elsewhere, pixel for pixel of the picture's size. */
    png: () => {
      const sheet = h("canvas", { width: picture.width, height: picture.height });
      const pen = sheet.getContext("2d");
      pen.fillRect(0, 0, sheet.width, sheet.height);
      paint(pen);
      return new Promise((done) => sheet.toBlob(done, "image/png"));
    },
  };
}

/**
 * The files of one form. `schema` is that of IGS; `besides()` names those that are given
 * elsewhere, as { name: () => blob }.
 */
export class Inputs {
  constructor(schema, besides = () => ({})) {
    this.besides = besides;
    this.element = h("div", { class: "fields", hidden: true });
    this.fields = new Map();
    for (const [name, property] of Object.entries(schema.properties)) {
      const field = plain(property, schema.$defs ?? {});
      if (field.format === "path") this.fields.set(name, this.make(name, field));
    }
    this.element.append(...[...this.fields.values()].map((field) => field.element));
  }

  make(name, contract) {
    const field = { name, blob: null, id: null, wanted: false };
    const title = label(contract.title ?? name);
    const name_ = h("span", { class: "label" });
    const image = h("img", { alt: "" });
    const file = h("span", { class: "help" });
    const remove = h("button", { type: "button", class: "link", onclick: () => this.give(field, null) }, t("Remove"));
    const shown = h("div", { class: "given", hidden: true }, image, h("div", {}, file, remove));
    const place = dropPlace(t("Drop a picture here, or choose one"), "image/*", async (taken) => {
      await decoded(taken);
      this.give(field, taken);
    });
    place.querySelector("input").dataset.file = name;
    place.querySelector("input").setAttribute("aria-label", `${title}: ${t("Drop a picture here, or choose one")}`);
    const { ask, help } = about(title, contract.description ?? "");
    field.element = h("div", { class: "field", hidden: true }, h("div", { class: "title" }, name_, ask), help, place, shown);
    const unused = h("p", { class: "notice", hidden: true }, t("The chosen model does not use it."));
    field.element.append(unused);
    let pictured = null;
    field.show = () => {
      field.element.hidden = !field.wanted && !field.blob;
      unused.hidden = field.wanted || !field.blob;
      const needed = this.model?.needs.includes(name);
      name_.textContent = needed ? `${title} · ${t("needed")}` : title;
      shown.hidden = !field.blob;
      place.hidden = Boolean(field.blob);
      file.textContent = field.blob?.name ?? "";
      if (pictured === field.blob) return;
      pictured = field.blob;
      URL.revokeObjectURL(image.src);
      if (pictured) image.src = URL.createObjectURL(pictured);
    };
    if (name === "mask") this.addMasker(field);
    return field;
  }

  /** A mask may be drawn too, where there is a picture to draw it over. */
  addMasker(field) {
    const masker = makeMasker(() => (field.id = null));
    const hint = h("p", { class: "help" }, t("Give the picture first; then the mask can be drawn over it."));
    const open = h("button", { type: "button", class: "link", onclick: () => attempt(begin) }, t("Draw it over the picture"));
    masker.element.hidden = true;
    field.masker = masker;
    field.element.append(open, hint, masker.element);
    const begin = async () => {
      await masker.lay(await this.source());
      this.give(field, null);
      masker.element.hidden = false;
      open.hidden = true;
    };
    const show = field.show;
    field.show = () => {
      show();
      const hasSource = Boolean(this.fields.get("source")?.blob ?? this.besides().source);
      if (!hasSource || field.blob) masker.element.hidden = true;
      open.hidden = !hasSource || Boolean(field.blob) || !masker.element.hidden;
      hint.hidden = hasSource || Boolean(field.blob);
    };
  }

  source = async () => this.fields.get("source")?.blob ?? this.besides().source?.();

  give(field, blob) {
    field.blob = blob;
    field.id = null;
    if (field.name === "source") this.follow(true);
    this.show();
  }

  /** Take the files of an earlier picture (its record's inputs) again => the names of those gone. */
  async takeAgain(inputs) {
    const gone = [];
    for (const field of this.fields.values()) this.give(field, null);
    for (const { role, name, sha256 } of inputs) {
      const sent = await sentFile(sha256);
      const answer = sent && (await fetch(`/api/v1/uploads/${sent.id}/file`));
      if (!answer?.ok) {
        gone.push(name);
        continue;
      }
      const field = this.fields.get(role);
      this.give(field, new File([await answer.blob()], name));
      field.id = sent.id;
    }
    return gone;
  }

  /** The picture under the mask has changed; `isOther`: what was drawn has no meaning any more. */
  follow(isOther) {
    const mask = this.fields.get("mask");
    if (!mask || mask.masker.element.hidden) return;
    if (isOther) mask.masker.clear();
    mask.id = null;
    attempt(async () => {
      const source = await this.source();
      if (source) await mask.masker.lay(source);
    });
  }

  /** Ask for what the model takes and nobody else gives. */
  suit(model) {
    this.model = model;
    const elsewhere = this.besides();
    for (const [name, field] of this.fields) {
      field.wanted = model.takes.includes(name) && !(name in elsewhere);
    }
    this.show();
  }

  show() {
    for (const field of this.fields.values()) field.show();
    this.element.hidden = [...this.fields.values()].every((field) => field.element.hidden);
  }

  /** Send what was given => ids by name; what was sent before is not sent again. */
  async uploads() {
    const ids = {};
    for (const [name, field] of this.fields) {
      if (!field.wanted) continue;
      const isDrawn = field.masker && !field.masker.element.hidden && !field.masker.isEmpty();
      const blob = field.blob ?? (isDrawn ? await field.masker.png() : null);
      if (!blob && this.model.needs.includes(name)) throw new Error(t("{name}: this model needs one.", { name: label(name) }));
      if (!blob) continue;
      field.id ??= (await upload(blob, blob.name ?? `${name}.png`)).id;
      ids[name] = field.id;
    }
    return ids;
  }
}
