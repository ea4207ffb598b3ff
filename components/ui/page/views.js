// Views drawn by Preact: the part that the frame shows, and what its components share.

import { h as create, html, render, useEffect, useMemo, useRef, useState } from "./preact-htm.js";
import { attempt, t } from "./kit.js";

export { html, render, useEffect, useMemo, useRef, useState };

/** A part of the page from a component; it is given the address' values and drawn anew on news. */
export function view(Component) {
  const element = document.createElement("div");
  let values = {};
  const draw = () => render(create(Component, { values }), element);
  return {
    element,
    update: draw,
    show: (now) => {
      values = now;
      draw();
    },
  };
}

/** A place for an element that is made without Preact. */
export function Made({ element, ...props }) {
  const place = useRef(null);
  useEffect(() => place.current.replaceChildren(element), [element]);
  return html`<div ref=${place} ...${props}></div>`;
}

/** A button that does something asynchronous: it rests meanwhile, and what goes wrong is told. */
export function Act({ act, children, disabled, ...props }) {
  const [isBusy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    await attempt(act);
    setBusy(false);
  };
  return html`<button type="button" onClick=${go} disabled=${isBusy || disabled} ...${props}>${children}</button>`;
}

/** What `load` gives, again whenever one of `inputs` changes; undefined at first. */
export function useLoaded(load, inputs) {
  const [found, setFound] = useState(undefined);
  useEffect(() => {
    let isOver = false;
    attempt(load).then((data) => isOver || setFound(data));
    return () => (isOver = true);
  }, inputs);
  return found;
}

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;

/** A dialog that is open as long as it is drawn. */
export function Dialog({ title, onclose, children, ...props }) {
  const place = useRef(null);
  useEffect(() => {
    const before = document.activeElement;
    const dialog = place.current;
    dialog.showModal();
    return () => {
      // The lines that it took to itself outlive it: no event tells that an open dialog is gone.
      const toasts = dialog.querySelector("#toasts");
      if (toasts) document.body.append(toasts);
      if (before?.isConnected) before.focus();
    };
  }, []);
  return html`<dialog ref=${place} class="plain" aria-label=${title} onClose=${onclose} ...${props}>
    <header><h2>${title}</h2><button type="button" class="quiet close" aria-label=${t("Close")} onClick=${() => place.current.close()}>×</button></header>
    ${children}
  </dialog>`;
}
