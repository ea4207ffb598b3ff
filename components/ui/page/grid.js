// A grid of any number of pictures, of which only those in sight are in the document.

import { keyOf, t, whyUnseen } from "./kit.js";
import { html, useEffect, useRef, useState } from "./views.js";

const GAP = 8;
const LEAST_SIDE = 132; // pixels
const ROWS_AHEAD = 4;
const DRAG_PIXELS = 8; // a shorter way is a click

/** Columns, side and the rows in sight, for a place of the document. */
function useSight(place, count) {
  const [sight, setSight] = useState({ columns: 1, side: LEAST_SIDE, first: 0, last: 0 });
  useEffect(() => {
    const look = () => {
      if (!place.current?.isConnected) return;
      const box = place.current.getBoundingClientRect();
      if (!box.width) return;
      const columns = Math.max(3, Math.floor((box.width + GAP) / (LEAST_SIDE + GAP)));
      const side = (box.width - GAP * (columns - 1)) / columns;
      const row = (y) => Math.floor(y / (side + GAP));
      const first = Math.max(0, row(-box.top) - ROWS_AHEAD) * columns;
      const last = (row(innerHeight - box.top) + 1 + ROWS_AHEAD) * columns;
      setSight((old) => (old.columns === columns && old.side === side && old.first === first && old.last === last ? old : { columns, side, first, last }));
    };
    look();
    const watcher = new ResizeObserver(look);
    watcher.observe(place.current);
    watcher.observe(document.body); // what opens or closes above moves the grid and leaves its size
    addEventListener("scroll", look, { passive: true });
    addEventListener("resize", look);
    return () => {
      watcher.disconnect();
      removeEventListener("scroll", look);
      removeEventListener("resize", look);
    };
  }, [count]);
  return sight;
}

function Tile({ id, at, count, place, isStarred, isSelected, isReached, onfocus }) {
  const [fault, setFault] = useState("");
  const address = `/api/v1/results/${id}/thumbnail?side=256`;
  const name = [t("Picture {id}", { id: String(id) }), isStarred && t("starred")].filter(Boolean).join(", ");
  return html`<button type="button" class="tile ${fault ? "missing" : ""}" role="option" data-id=${id} style=${place}
    tabindex=${isReached ? "0" : "-1"} aria-selected=${String(isSelected)} aria-setsize=${count} aria-posinset=${at + 1} aria-label=${name} onFocus=${() => onfocus(at)}>
    ${fault ? html`<span>${fault}</span>` : html`<img src=${address} alt="" draggable=${false} decoding="async" onError=${async () => setFault(await whyUnseen(address))} />`}
    <span class="pick" aria-hidden="true"></span>
    ${isStarred && html`<span class="star" aria-hidden="true">★</span>`}
  </button>`;
}

/**
 * Pictures by number. `onselect` is given the numbers selected; Ctrl or a tap on the corner adds one,
 * Shift a range, a drag a rectangle.
 */
export function Grid({ label, ids, starred, selected, onselect: tell, onopen, onstar, ondelete }) {
  const place = useRef(null);
  const now = useRef(selected); // keys may follow one another faster than they are drawn
  now.current = selected;
  const onselect = (wanted) => tell((now.current = new Set(wanted)));
  const sight = useSight(place, ids.length);
  const [reached, setReached] = useState(0);
  const anchor = useRef(0);
  const wished = useRef(null);
  const band = useBand(place, sight, ids, selected, onselect);
  const { columns, side, first, last } = sight;
  const step = side + GAP;
  const visible = ids.slice(first, last);
  const inReach = reached >= first && reached < last ? reached : first;

  useEffect(() => {
    if (wished.current === null) return;
    const tile = place.current.querySelector(`[data-id="${wished.current}"]`);
    if (tile) tile.focus({ preventScroll: true }), (wished.current = null);
  });

  useKeptFocus(place, ids);

  const range = (from, to) => ids.slice(Math.min(from, to), Math.max(from, to) + 1);
  const toggle = (id) => {
    const wanted = new Set(now.current);
    if (!wanted.delete(id)) wanted.add(id);
    onselect(wanted);
  };

  const clicked = (event) => {
    const tile = event.target.closest("button.tile");
    if (!tile || band.wasDragged()) return;
    const at = ids.indexOf(Number(tile.dataset.id));
    if (event.shiftKey) return onselect([...now.current, ...range(anchor.current, at)]);
    const isPicked = event.ctrlKey || event.metaKey || event.target.closest(".pick");
    if (!isPicked && !(selected.size && event.pointerType === "touch")) return onopen(ids[at]);
    anchor.current = at;
    toggle(ids[at]);
  };

  const pressed = (event) => {
    const at = ids.indexOf(wished.current ?? Number(document.activeElement?.dataset.id));
    if (at < 0) return;
    const key = keyOf(event);
    const chosen = now.current.size ? [...now.current] : [ids[at]];
    const by = { arrowleft: -1, arrowright: 1, arrowup: -columns, arrowdown: columns, home: -ids.length, end: ids.length }[key];
    if (by !== undefined) {
      const to = Math.min(ids.length - 1, Math.max(0, at + by));
      if (event.shiftKey) onselect([...now.current, ...range(at, to)]);
      reach(to);
    } else if (key === " ") toggle(ids[at]), (anchor.current = at);
    else if (key === "a" && (event.ctrlKey || event.metaKey)) onselect(ids);
    else if (key === "s" && !event.ctrlKey && !event.metaKey) onstar(chosen);
    else if (key === "delete" && !event.repeat) leave(at, new Set(chosen)), ondelete(chosen);
    else if (key === "escape") onselect([]);
    else return;
    event.preventDefault();
  };

  /** Stand on the next tile that stays where these go. */
  function leave(at, gone) {
    const next = ids.findIndex((id, n) => n > at && !gone.has(id));
    reach(next < 0 ? ids.findLastIndex((id) => !gone.has(id)) : next);
  }

  /** Let the keyboard stand on a tile, which is brought into sight first. */
  function reach(at) {
    if (at < 0) return;
    wished.current = ids[at];
    setReached(at);
    const top = place.current.getBoundingClientRect().top + scrollY + Math.floor(at / columns) * step;
    if (top < scrollY + 140) scrollTo({ top: top - 140 });
    else if (top + side > scrollY + innerHeight - 90) scrollTo({ top: top + side - innerHeight + 90 });
  }

  return html`<div ref=${place} class="virtual" role="listbox" aria-multiselectable="true" aria-label=${label}
    style=${{ height: `${Math.ceil(ids.length / columns) * step}px` }} onClick=${clicked} onKeyDown=${pressed} ...${band.listeners}>
    ${visible.map((id, n) => {
      const at = first + n;
      const where = { width: `${side}px`, height: `${side}px`, transform: `translate(${(at % columns) * step}px, ${Math.floor(at / columns) * step}px)` };
      return html`<${Tile} key=${id} id=${id} at=${at} count=${ids.length} place=${where} isStarred=${starred.has(id)} isSelected=${selected.has(id)} isReached=${at === inReach} onfocus=${(n) => ((wished.current = null), setReached(n))} />`;
    })}
    ${band.box && html`<div class="band" style=${band.box}></div>`}
  </div>`;
}

/** A tile that had the focus has it again after others came or went: a moved element loses it. */
function useKeptFocus(place, ids) {
  const held = useRef(null);
  useEffect(() => {
    const note = (event) => (held.current = place.current?.contains(event.target) ? event.target.dataset.id : null);
    document.addEventListener("focusin", note);
    document.addEventListener("pointerdown", note);
    return () => (document.removeEventListener("focusin", note), document.removeEventListener("pointerdown", note));
  }, []);
  useEffect(() => {
    if (held.current && document.activeElement === document.body) place.current.querySelector(`[data-id="${held.current}"]`)?.focus({ preventScroll: true });
  }, [ids]);
}

/** A rectangle drawn with the mouse selects what it touches; with Ctrl or Shift beside the rest. */
function useBand(place, { columns, side }, ids, selected, onselect) {
  const start = useRef(null);
  const dragged = useRef(false);
  const [box, setBox] = useState(null);
  const step = side + GAP;
  const point = (event) => {
    const frame = place.current.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  const touched = (left, top, right, bottom) => {
    const found = [];
    for (let row = Math.max(0, Math.floor(top / step)); row * step < bottom; row += 1) {
      for (let column = Math.max(0, Math.floor(left / step)); column < columns && column * step < right; column += 1) {
        const id = ids[row * columns + column];
        if (id !== undefined) found.push(id);
      }
    }
    return found;
  };
  const down = (event) => {
    dragged.current = false;
    if (event.pointerType === "mouse" && event.button === 0) start.current = { at: point(event), before: event.ctrlKey || event.shiftKey ? [...selected] : [] };
  };
  const move = (event) => {
    if (!start.current) return;
    const [[x, y], [toX, toY]] = [start.current.at, point(event)];
    if (!dragged.current && Math.hypot(toX - x, toY - y) < DRAG_PIXELS) return;
    if (!dragged.current) place.current.setPointerCapture(event.pointerId);
    dragged.current = true;
    const [left, top, right, bottom] = [Math.min(x, toX), Math.min(y, toY), Math.max(x, toX), Math.max(y, toY)];
    setBox({ left: `${left}px`, top: `${top}px`, width: `${right - left}px`, height: `${bottom - top}px` });
    onselect(new Set([...start.current.before, ...touched(left, top, right, bottom)]));
  };
  const up = () => {
    start.current = null;
    setBox(null);
  };
  const listeners = { onPointerDown: down, onPointerMove: move, onPointerUp: up, onPointerCancel: up };
  return { box, listeners, wasDragged: () => dragged.current };
}
