// From one seed's picture to another's: one result that plays.

import { attempt, drawnSeed, h, submit, t } from "./kit.js";
import * as state from "./state.js";
import { jobCard, modelName } from "./pictures.js";
import { html, Made, useEffect, useState } from "./views.js";

function Latest({ job }) {
  const [card] = useState(() => jobCard(job));
  useEffect(() => card.update(job));
  const id = job.results.at(-1);
  return html`<div class="stack">
    ${id && !state.isHidden(id) && html`<img class="playing" src=${`/api/v1/results/${id}/file`} alt=${t("The way between")} />`}
    <${Made} element=${card.element} />
  </div>`;
}

/** A form for the model that is chosen above it, and the newest of its kind. */
export function Between({ model, choices }) {
  const [seeds, setSeeds] = useState([drawnSeed(), drawnSeed()]);
  const number = (n) => (event) => setSeeds(seeds.map((seed, place) => (place === n ? Number(event.target.value) : seed)));
  const order = async (event) => {
    event.preventDefault();
    const frames = Number(new FormData(event.target).get("frames"));
    const { style, options } = choices().generate;
    const generate = { ...(style && { style }), ...(options && { options }) };
    await attempt(async () => state.take(await submit({ kind: "interpolate", model: model().id, between: seeds.join(), frames, choices: { generate, enhance: { scale: 1 } } })));
  };
  const can = (one) => Boolean(one && "towards_seed" in state.schema.families[one.family].options.properties);
  const others = state.models.filter(can).map(modelName).join(", ");
  const latest = state.newestFirst().find((job) => job.kind === "interpolate");
  return html`<details class="card between"><summary>${t("From one seed to another, as an animation")}</summary>
    ${!can(model()) && html`<p class="notice">${others ? t("The chosen model cannot go from one seed to another. These can: {names}.", { names: others }) : t("No model here can go from one seed to another.")}</p>`}
    <form class="row" aria-label=${t("Between two seeds")} onSubmit=${order} hidden=${!can(model())}>
      <label>${t("From seed")}<input type="number" min="0" max=${Number.MAX_SAFE_INTEGER} required value=${seeds[0]} onInput=${number(0)} /></label>
      <label>${t("To seed")}<input type="number" min="0" max=${Number.MAX_SAFE_INTEGER} required value=${seeds[1]} onInput=${number(1)} /></label>
      <label>${t("Pictures between")}<input type="number" name="frames" min="1" max="240" required defaultValue="24" /></label>
      <button type="button" class="quiet dice" aria-label=${t("Roll the dice: another seed")} onClick=${() => setSeeds([drawnSeed(), drawnSeed()])}>⚄</button>
      <button class="main">${t("Interpolate")}</button>
      <p class="help">${t("In the model's own size, with the style and the options above.")}</p>
    </form>
    ${latest && html`<${Latest} key=${latest.id} job=${latest} />`}
  </details>`;
}
