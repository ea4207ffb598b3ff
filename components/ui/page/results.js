// What is done with results, one or many: stars, boards, deleting, archives; each can be undone.

import { api, attempt, submit, t, toast } from "./kit.js";
import { did } from "./undo.js";
import * as state from "./state.js";

const post = (path, json) => api(path, { method: "POST", json });

async function setStars(results, is_starred) {
  const { changed } = await post("results/star", { results, is_starred });
  state.tellMarks();
  return changed;
}

export async function star(results, isStarred) {
  const changed = await setStars(results, isStarred);
  if (!changed.length) return;
  const text = isStarred ? t("{n} pictures starred.", { n: changed.length }) : t("Stars of {n} pictures taken away.", { n: changed.length });
  did(text, () => setStars(changed, !isStarred));
}

export async function move(results, board) {
  const { before } = await post("results/board", { results, board });
  state.tellMarks();
  const moved = Object.values(before).flat().length;
  if (!moved) return;
  did(board ? t("{n} pictures moved to “{board}”.", { n: moved, board }) : t("{n} pictures taken off their board.", { n: moved }), async () => {
    for (const [name, numbers] of Object.entries(before)) {
      await post("results/board", { results: numbers, board: name || null });
    }
    state.tellMarks();
  });
}

export async function remove(results) {
  const { changed } = await post("results/delete", { results });
  state.hide(changed, true);
  if (!changed.length) return; // it was so already: there is nothing to undo
  did(t("{n} pictures deleted; the files are removed for good in a week.", { n: changed.length }), () => restore(changed));
}

export async function restore(results) {
  const { changed } = await post("results/restore", { results });
  state.hide(changed, false);
  if (changed.length) toast(t("{n} pictures are back.", { n: changed.length }));
}

/** One zip of many, which the browser saves as it comes. */
export async function download(results, withRecord = true) {
  const { file } = await post("archives", { results, with_record: withRecord });
  save(file);
}

export function save(address) {
  const link = document.createElement("a");
  link.href = address;
  link.download = "";
  link.click();
}

/** Enlarge until the longer side has 1024 pixels or more; null where it has them. */
export function scaleTo1024({ width, height }) {
  const side = Math.max(width, height);
  return side >= 1024 ? null : side * 4 >= 1024 ? 4 : 16;
}

export const enlarge = (results, scale) =>
  attempt(async () => {
    state.take(await submit({ kind: "enhance", results, enhance: { scale } }));
    toast(t("Enlarging; it appears in the gallery when it is ready."));
  });
