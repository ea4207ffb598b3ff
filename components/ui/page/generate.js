// Generate: a model, a style, seeds, a size; pictures appear as they are made.

import { api, attempt, drawnSeed, h, remember, remembered, submit, t } from "./kit.js";
import { advice, enlargers } from "./enlargers.js";
import { Form, folded } from "./forms.js";
import { Inputs } from "./inputs.js";
import * as state from "./state.js";
import { choicesOf, jobCards, modelName } from "./pictures.js";
import { Between } from "./between.js";
import { html, render } from "./views.js";

/** The forms of model, IGS, its family's options, IES and ICS, together. */
export class ChoiceForm {
  constructor({ fits = () => true, besides, onpick = () => {} } = {}) {
    this.fits = fits;
    const { sections } = state.schema;
    this.inputs = new Inputs(sections.generate, besides);
    this.model = h("select", { id: `model-${ChoiceForm.made++}`, "data-field": "model" });
    this.isPicked = false; // by a person: the default may change under what nobody picked
    this.model.addEventListener("change", () => ((this.isPicked = true), this.suit(), onpick()));
    this.note = h("p", { class: "help" });
    const styles = () => this.chosen()?.styles ?? [];
    this.generate = new Form(withFreeSeed(sections.generate), {
      primary: ["prompt", "style", "count", "seed"],
      hidden: ["skip"],
      blanks: { seed: t("a new one each time"), style: t("any style"), towards_style: t("none") },
      choices: { style: () => styles(), towards_style: () => styles() },
    });
    this.addDice();
    this.enhance = new Form(sections.enhance, {
      primary: ["scale", "enhancer", "strength"],
      choices: {
        scale: () => sections.enhance.properties.scale.enum.map((n) => [n, this.size(n)]),
        enhancer: enlargers,
      },
      advice: { enhancer: advice },
    });
    this.convert = new Form(sections.convert, { primary: ["format"] });
    this.options = null;
    this.optionsPlace = h("div");
    this.optionsTitle = h("h4");
    this.element = h(
      "div",
      { class: "choice" },
      h("div", { class: "field" }, h("div", { class: "title" }, h("label", { for: this.model.id }, t("Model"))), this.model, this.note),
      this.inputs.element,
      this.generate.main,
      this.enhance.main,
      this.convert.main,
      folded(
        t("More settings"),
        this.optionsTitle,
        this.optionsPlace,
        h("h4", {}, t("Generation")),
        this.generate.more,
        h("h4", {}, t("Enlargement")),
        this.enhance.more,
        h("h4", {}, t("File")),
        this.convert.more,
      ),
    );
    this.offer();
  }

  static made = 0;

  chosen = () => state.modelById(this.model.value);

  size(scale) {
    const side = this.chosen()?.resolution;
    return side ? `${side * scale} × ${side * scale}` : `×${scale}`;
  }

  /** Offer the models there are, keeping the one that is chosen. */
  offer() {
    const fitting = state.models.filter(this.fits);
    const key = fitting.map((model) => [model.id, modelName(model), model.is_default]).join();
    if (key === this.offered) return;
    this.offered = key;
    const before = this.model.value;
    this.model.replaceChildren(...fitting.map((model) => h("option", { value: model.id }, modelName(model))));
    const ranks = [(one) => this.isPicked && one.id === before, (one) => one.is_default, (one) => one.name.startsWith("shipped"), () => true];
    const chosen = ranks.map((fits) => fitting.find(fits)).find(Boolean);
    if (chosen) this.model.value = chosen.id;
    this.suit();
  }

  /** Take the model of this id, where it is here. */
  pick(id) {
    if (!state.modelById(id)) return;
    this.isPicked = true;
    this.model.value = id;
    this.suit();
  }

  /** Fit the form to the model: its styles, sizes, what it takes and its family's options. */
  suit() {
    const model = this.chosen();
    if (!model) return;
    this.note.textContent = t("{n} training images shown", { n: model.images_seen }) + ` · ${t(model.description)}`;
    for (const name of ["style", "towards_style", "style_blend"]) this.generate.toggle(name, model.is_conditional);
    this.generate.toggle("prompt", model.takes.includes("prompt"));
    this.inputs.suit(model);
    this.generate.refresh();
    this.enhance.refresh();
    if (this.family !== model.family) {
      this.family = model.family;
      this.options = new Form(state.schema.families[model.family].options);
      this.optionsTitle.textContent = model.family;
      this.optionsPlace.replaceChildren(this.options.main);
      this.optionsTitle.hidden = !this.options.fields.size;
    }
  }

  /** A button that draws a seed and shows it: the one to keep while other settings change. */
  addDice() {
    const seed = this.generate.fields.get("seed");
    const dice = h("button", { type: "button", class: "quiet", "aria-label": t("Roll the dice: another seed"), title: t("Roll the dice: another seed"), onclick: () => seed.set(drawnSeed()) }, "⚄");
    const row = h("div", { class: "with-button" });
    seed.input.replaceWith(row);
    row.append(seed.input, dice);
  }

  choices() {
    const options = this.options?.values() ?? {};
    return {
      generate: { ...this.generate.values(), ...(Object.keys(options).length ? { options } : {}) },
      enhance: this.enhance.values(),
      convert: this.convert.values(),
    };
  }

  /** The order; the files that it names are sent first. */
  async order() {
    const files = await this.inputs.uploads();
    const choices = this.choices();
    if (choices.generate.seed === undefined && !choices.generate.seeds) choices.generate.seed = drawnSeed();
    return { kind: "generate", model: this.model.value, choices, ...files };
  }

  set({ generate = {}, enhance = {}, convert = {} }) {
    this.generate.set(generate);
    this.enhance.set(enhance);
    this.convert.set(convert);
    this.options?.set(generate.options ?? {});
  }
}

/** IGS where a seed may be left out: each order then draws its own. */
function withFreeSeed(schema) {
  const { seed } = schema.properties;
  const free = { anyOf: [seed, { type: "null" }], default: null, title: seed.title, description: seed.description };
  return { ...schema, properties: { ...schema.properties, seed: free } };
}

/** Choices for another day: a seed that was kept would make the same picture again. */
function withoutSeed(choices) {
  const { seed: _, seeds: __, ...generate } = choices.generate ?? {};
  return { ...choices, generate };
}

/** An earlier picture's settings as the form has them: its seed in the field that is seen. */
function asForm(found, changes) {
  const settings = choicesOf(found);
  const { seeds, ...generate } = settings.generate;
  const isShort = Number(seeds) <= Number.MAX_SAFE_INTEGER;
  const seed = isShort ? { seed: Number(seeds), count: 1 } : { seeds, seed: null };
  return { ...settings, generate: { ...generate, ...seed, ...changes } };
}

/** Settings that a person kept under a name, in this browser. */
function makeNamed(now, take) {
  const all = () => remembered("presets") ?? {};
  const select = h("select", { "aria-label": t("Kept settings"), onchange: () => select.value && take(all()[select.value]) });
  const fill = (chosen = "") => {
    select.replaceChildren(h("option", { value: "" }, t("Kept settings")), ...Object.keys(all()).sort().map((name) => h("option", { value: name }, name)));
    select.value = chosen;
  };
  const keep = () => {
    const name = prompt(t("Name for these settings"), select.value)?.trim();
    if (!name) return;
    remember("presets", { ...all(), [name]: now() });
    fill(name);
  };
  const drop = () => {
    const { [select.value]: _, ...rest } = all();
    remember("presets", rest);
    fill();
  };
  fill();
  return h("div", { class: "with-button presets" }, select, h("button", { type: "button", title: t("Keep these settings under a name"), "aria-label": t("Keep these settings under a name"), onclick: keep }, "+"), h("button", { type: "button", title: t("Forget the kept settings"), "aria-label": t("Forget the kept settings"), onclick: drop }, "−"));
}

export function create() {
  const taken = h("p", { class: "notice", role: "status", hidden: true });
  const choice = new ChoiceForm({ onpick: () => drawBetween() });
  const fault = h("p", { class: "fault", role: "alert", hidden: true });
  const button = h("button", { class: "main go", type: "submit" }, t("Generate"));
  const form = h("form", { class: "panel", "aria-label": t("Generate") }, taken, choice.element, h("div", { class: "foot" }, fault, button));
  const empty = h("p", { class: "empty" }, t("Choose a model and press Generate; the pictures appear here as they are made."));
  const cards = jobCards(state.makesPictures, 3, empty);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    fault.hidden = true;
    button.disabled = true;
    remember("generate", { model: choice.isPicked ? choice.model.value : null, choices: withoutSeed(choice.choices()) });
    try {
      state.take(await submit(await choice.order()));
      if (matchMedia("(max-width: 860px)").matches) cards.element.scrollIntoView({ block: "start" });
      else scrollTo(0, 0);
    } catch (error) {
      fault.textContent = error.message;
      fault.hidden = false;
    }
    button.disabled = false;
  });

  const before = remembered("generate");
  choice.pick(before?.model);
  if (before) choice.set(withoutSeed(before.choices));

  /** Take over an earlier picture's settings, its files too, and say which they are. */
  async function like(id, changes = {}) {
    const found = await api(`results/${id}`);
    const settings = asForm(found, changes);
    const { origin } = found.result.record;
    const model = state.modelByDigest(origin.model_digest);
    choice.pick(model?.id);
    choice.set(settings);
    const gone = await choice.inputs.takeAgain(origin.inputs ?? []);
    const notes = [
      t("The settings of picture {id}.", { id: String(id) }),
      !model && t("Its model is no longer here; the settings are taken over for another."),
      gone.length && t("Give {names} again: no longer here.", { names: gone.join(", ") }),
    ];
    taken.textContent = notes.filter(Boolean).join(" ");
    taken.hidden = false;
    choice.element.querySelector("details.more").open ||= Boolean(choice.generate.get("seeds"));
    button.focus();
    return Boolean(model) && !gone.length;
  }

  /** Four more with the same settings and other seeds, at once where nothing is missing. */
  async function more(id) {
    if (await like(id, { seed: null, seeds: null, count: 4 })) form.requestSubmit();
  }

  const named = makeNamed(() => ({ model: choice.model.value, choices: choice.choices() }), (kept) => {
    choice.pick(kept.model);
    choice.set(kept.choices);
  });
  form.prepend(named);

  const between = h("div");
  const drawBetween = () => render(html`<${Between} model=${choice.chosen} choices=${() => choice.choices()} />`, between);
  return {
    element: h("div", { class: "two" }, form, h("section", { class: "results stack", "aria-label": t("Pictures") }, empty, cards.element, between)),
    update: () => (choice.offer(), cards.update(), drawBetween()),
    show: ({ like: id, more: other, model }) => {
      if (id || other || model) history.replaceState(null, "", "#/generate"); // once is enough
      if (id) attempt(() => like(id));
      if (other) attempt(() => more(other));
      choice.pick(model);
    },
  };
}
