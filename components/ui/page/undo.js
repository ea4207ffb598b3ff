// What can be taken back: a line that offers it, and Ctrl-Z for as long as the page is open.

import { attempt, keyOf, t, toast } from "./kit.js";

const done = [];

/** Something was done that `undo` takes back; said in a line, and remembered for Ctrl-Z. */
export function did(text, undo) {
  const entry = { undo };
  done.push(entry);
  toast(text, { action: t("Undo"), act: () => takeBack(entry) });
}

async function takeBack(entry) {
  const at = done.indexOf(entry);
  if (at < 0) return;
  done.splice(at, 1);
  await attempt(async () => {
    try {
      await entry.undo();
    } catch (error) {
      // What was refused would be refused again; what failed otherwise can be tried again.
      if (!(error.status < 500)) done.splice(at, 0, entry);
      throw error;
    }
  });
}

addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.shiftKey || keyOf(event) !== "z") return;
  if (event.target.closest("input, textarea, select, canvas") || !done.length) return;
  event.preventDefault();
  takeBack(done.at(-1));
});
