// The list of keys, opened by "?".

import { t } from "./kit.js";
import { Dialog, html, render } from "./views.js";

const LISTED = {
  "?": "This list",
  "Ctrl Z": "Take back what was done last",
  "← → ↑ ↓": "From picture to picture",
  Enter: "Open the picture",
  Space: "Select it",
  "Shift ←": "Select several in a row",
  "Ctrl A": "Select all",
  S: "Star",
  Delete: "Delete",
  "+ − 0": "Zoom in the opened picture",
  Esc: "Close, or select nothing",
};

export function showShortcuts() {
  const place = document.createElement("div");
  document.body.append(place);
  const close = () => (render(null, place), place.remove());
  render(
    html`<${Dialog} title=${t("Keys")} onclose=${close}><dl class="keys">${Object.entries(LISTED).map(([key, text]) => html`<dt><kbd>${key}</kbd></dt><dd>${t(text)}</dd>`)}</dl><//>`,
    place,
  );
}
