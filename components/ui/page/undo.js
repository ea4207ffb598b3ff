// What can be taken back: a line that offers it, and Ctrl-Z for as long as the page is open.

import { attempt, t, toast } from "./kit.js";

const done = [];

/** Something was done that `undo` takes back; said in a line, and remembered for Ctrl-Z. */
export function did(text, undo) {
  const entry = { undo };
  done.push(entry);
  toast(text, { action: t("Undo"), act: () => takeBack(entry) });
}

function takeBack(entry) {
  const at = done.indexOf(entry);
  if (at < 0) return;
  done.splice(at, 1);
  attempt(entry.undo);
}

addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.shiftKey || event.key.toLowerCase() !== "z") return;
  if (event.target.closest("input, textarea, select, canvas") || !done.length) return;
  event.preventDefault();
  takeBack(done.at(-1));
});
