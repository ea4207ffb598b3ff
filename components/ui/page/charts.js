// Curves as SVG, drawn anew when numbers come.

import { h, label, language, t } from "./kit.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [360, 190, 44, 22, 8];

const svg = (tag, attributes, ...children) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};

/** A number in a few letters. */
export const short = (n) => {
  const isSmall = Math.abs(n) < 0.01 && n !== 0;
  return n.toLocaleString(language, isSmall ? { notation: "scientific", maximumSignificantDigits: 2 } : { notation: "compact", maximumSignificantDigits: 3 });
};

/** A chart of `curves`: [{ name, points: [[x, y]], band: [[x, low, high]] }], with its legend. */
export function chart(title, curves, note = "") {
  const points = curves.flatMap((curve) => [
    ...curve.points.filter(([, y]) => y !== null),
    ...(curve.band ?? []).flatMap(([x, low, high]) => [[x, low], [x, high]]),
  ]);
  if (!points.length) return null;
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  let [low, high] = [Math.min(...ys), Math.max(...ys)];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const toX = (x) => LEFT + ((x - left) / (right - left || 1)) * (WIDTH - LEFT - 6);
  const toY = (y) => HEIGHT - BOTTOM - ((y - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
  const place = ([x, y]) => `${toX(x).toFixed(1)},${toY(y).toFixed(1)}`;

  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const told = curves.map(({ name, points: all }) => {
    const last = all.filter(([, y]) => y !== null).at(-1);
    return last ? `${label(name)} ${short(last[1])}` : label(name);
  });
  drawing.setAttribute("aria-label", `${title}: ${told.join(", ")}`);
  for (const y of [low, (low + high) / 2, high]) {
    drawing.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - 6, y1: toY(y), y2: toY(y) }));
    drawing.append(svg("text", { x: LEFT - 6, y: toY(y) + 4, "text-anchor": "end" }, short(y)));
  }
  drawing.append(svg("text", { x: LEFT, y: HEIGHT - 5 }, short(left)));
  drawing.append(svg("text", { x: WIDTH - 6, y: HEIGHT - 5, "text-anchor": "end" }, t("{n} images seen", { n: short(right) })));
  curves.forEach((curve, n) => {
    if (curve.band?.length) {
      const edge = [...curve.band.map(([x, , y]) => [x, y]), ...curve.band.map(([x, y]) => [x, y]).reverse()];
      drawing.append(svg("polygon", { class: `c${n % 4}`, points: edge.map(place).join(" "), fill: "var(--of)", opacity: "0.15" }));
    }
    const known = curve.points.filter(([, y]) => y !== null);
    if (known.length === 1) drawing.append(svg("circle", { class: `c${n % 4}`, cx: toX(known[0][0]), cy: toY(known[0][1]), r: 3, fill: "var(--of)" }));
    else drawing.append(svg("polyline", { class: `curve c${n % 4}`, points: known.map(place).join(" ") }));
  });
  const legend = h("p", { class: "legend" }, told.map((text, n) => h("span", { class: `c${n % 4}` }, text)));
  return h("figure", { class: "chart", style: "margin:0" }, h("figcaption", {}, title), drawing, legend, note ? h("p", { class: "help" }, note) : null);
}
