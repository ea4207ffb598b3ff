// The enlargers by name: what each is for, and what to do about one that is not on this machine.

import { t } from "./kit.js";
import * as state from "./state.js";

const USES = {
  auto: "The best under two minutes",
  lanczos: "Plain resampling, no network",
  embedded: "Atelier’s own network, quick",
  "realesrgan-x4plus": "Paintings and photographs, slow",
  "realesrgan-x4plus-anime": "Drawings",
  "realesr-general-x4v3": "All pictures, quick",
  "realesr-general-wdn-x4v3": "All pictures, quick, keeps grain",
  "realesr-animevideov3": "Line art, the quickest",
};

const isAbsent = (name) => state.schema.absent_enhancers.includes(name);

/** All that enlarge, as a form's choices: the use first, the name after. */
export const enlargers = () =>
  [...new Set(["auto", "lanczos", ...state.schema.enhancers])].map((name) => [name, named(name)]);

function named(name) {
  const known = name in USES ? t(USES[name]) : name;
  const shown = name.startsWith("real") ? `${known} · ${name}` : known;
  return isAbsent(name) ? `${shown} · ${t("not on this machine")}` : shown;
}

/** A line under the choice of one that would have to be fetched first. */
export const advice = (name) =>
  isAbsent(name) ? t("Not on this machine: it is downloaded once, when you first use it. Without the internet, choose another.") : "";
