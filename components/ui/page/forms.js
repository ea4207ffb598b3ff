// Forms made from a contract's JSON schema: a new field of the contract appears by itself.

import { h, label, t } from "./kit.js";

let count = 0;

/** One alternative of a field that may be null, with its bounds; $refs are followed. */
export function plain(field, definitions) {
  if (field.$ref) return plain({ ...definitions[field.$ref.split("/").pop()], ...field, $ref: undefined }, definitions);
  if (!field.anyOf) return field;
  const some = field.anyOf.filter((one) => one.type !== "null");
  const first = some.length === 1 ? plain(some[0], definitions) : { type: "json" };
  return { ...first, ...field, anyOf: undefined, isNullable: some.length < field.anyOf.length };
}

const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

/** Whether a person is to choose it here: no constants, no paths, and no nested tables. */
const isAsked = (field) =>
  field.const === undefined && field.format !== "path" && field.type !== "object";

/**
 * A form of one section.
 *
 * `primary`: names shown first, in this order; all others lie under "More settings".
 * `hidden`: names that are not asked here. `choices`: what a field may name, by its name, as
 * functions giving [value, text] pairs. `suggestions`: the same for what may also be typed. `base`:
 * values that stand where nothing was changed, null for a number that is left open. `blank`: what
 * an empty number means, `blanks`: the same of single fields; `none`: an empty choice. `advice`: what
 * is said under a field of the value that it has, by its name.
 */
export class Form {
  constructor(schema, { primary = null, hidden = [], choices = {}, suggestions = {}, base = {}, blank = t("automatic"), blanks = {}, none = "—", advice = {}, onchange } = {}) {
    this.fields = new Map();
    this.choices = choices;
    this.onchange = onchange ?? (() => {});
    this.main = h("div", { class: "fields" });
    this.more = h("div", { class: "fields" });
    const names = Object.keys(schema.properties ?? {});
    const first = (primary ?? names).filter((name) => names.includes(name));
    for (const name of [...first, ...names.filter((name) => !first.includes(name))]) {
      const field = plain(schema.properties[name], schema.$defs ?? {});
      if (!isAsked(field) || hidden.includes(name)) continue;
      const made = makeField(name, { ...field, blank: blanks[name] ?? blank, none: blanks[name] ?? none, suggestions: suggestions[name] }, choices[name], (value) => this.onchange(name, value));
      if (advice[name]) advise(made, advice[name]);
      this.fields.set(name, made);
      (first.includes(name) ? this.main : this.more).append(made.element);
    }
    this.setBase(base);
  }

  /** What stands where nothing was changed; the fields go back to it. */
  setBase(base) {
    this.base = {};
    for (const [name, field] of this.fields) {
      this.#take(name, field, base);
      field.set(this.base[name]);
    }
  }

  #take(name, field, base) {
    this.base[name] = base[name] !== undefined ? base[name] : (field.initial ?? null);
    field.open?.(base[name] === null);
  }

  /**
   * Another base under the fields that nobody changed; the others stay as they are. Those that were
   * `typed` this moment keep what was typed, also where it is the old base => whether any did so.
   */
  rebase(base, typed) {
    let isKept = false;
    for (const [name, field] of this.fields) {
      const value = field.get();
      if (!same(value, this.base[name])) continue;
      this.#take(name, field, base);
      if (!typed.has(name)) field.set(this.base[name]);
      else if (!same(value, this.base[name])) isKept = true;
    }
    return isKept;
  }

  /** Only what differs from the base. */
  values() {
    const given = {};
    for (const [name, field] of this.fields) {
      const value = field.get();
      if (!same(value, this.base[name])) given[name] = value;
    }
    return given;
  }

  /** Take values over; what is not named goes back to its base. */
  set(values) {
    for (const [name, field] of this.fields) field.set(values[name] ?? this.base[name]);
  }

  /** Offer the choices anew: models, styles and such change. */
  refresh() {
    for (const field of this.fields.values()) field.refresh?.();
  }

  /** Show a field or not; one that is hidden gives its base. */
  toggle(name, isShown) {
    const field = this.fields.get(name);
    if (!field) return;
    field.element.hidden = !isShown;
    if (!isShown) field.set(this.base[name]);
  }

  get(name) {
    return this.fields.get(name)?.get();
  }
}

function makeField(name, field, choices, onchange) {
  const id = `field-${++count}`;
  const make =
    choices || field.enum
      ? makeSelect
      : field.type === "boolean"
        ? makeCheckbox
        : field.type === "integer" || field.type === "number"
          ? makeNumber
          : field.format === "date-time"
            ? makeDate
            : field.type === "string"
              ? makeText
              : makeJson;
  const control = make(id, name, field, choices, onchange);
  const { ask, help } = about(label(field.title ?? name), field.description ?? "");
  help.id = `${id}-help`;
  control.input.setAttribute("aria-describedby", help.id);
  control.input.dataset.field = name;
  const title = h("label", { for: id }, label(field.title ?? name));
  const parts =
    field.type === "boolean" && !choices
      ? [h("div", { class: "check" }, control.element, title, ask)]
      : [h("div", { class: "title" }, title, ask), control.element];
  const element = h("div", { class: "field" }, ...parts, field.description ? help : null);
  if (!field.description) ask.remove();
  return { ...control, element, initial: field.default };
}

/** A line under a field that says something of the value it has. */
function advise(field, advice) {
  const line = h("p", { class: "advice", role: "status" });
  const { set } = field;
  const show = () => (line.textContent = advice(field.get()));
  field.set = (value) => (set(value), show());
  field.input.addEventListener("change", show);
  field.element.append(line);
}

/** A "?" and the help that it shows. */
export function about(name, description) {
  const help = h("p", { class: "help", hidden: true }, t(description));
  const ask = h(
    "button",
    {
      type: "button",
      class: "ask",
      "aria-label": t("About “{name}”", { name }),
      "aria-expanded": "false",
      onclick: () => {
        help.hidden = !help.hidden;
        ask.setAttribute("aria-expanded", String(!help.hidden));
      },
    },
    "?",
  );
  return { ask, help };
}

const listening = (input, get, onchange) => {
  input.addEventListener("change", () => onchange(get()));
  return input;
};

function makeSelect(id, name, field, choices, onchange) {
  const select = h("select", { id });
  const offered = () => {
    const some = (choices ? choices() : field.enum).map((one) =>
      Array.isArray(one) ? one : [one, typeof one === "string" ? t(one) : String(one)],
    );
    return field.isNullable ? [[null, field.none], ...some] : some;
  };
  let pairs = [];
  const fill = () => {
    const before = get();
    pairs = offered();
    select.replaceChildren(...pairs.map(([, text], n) => h("option", { value: String(n) }, text)));
    set(before);
  };
  const get = () => pairs[select.selectedIndex]?.[0] ?? null;
  const set = (value) => {
    let place = pairs.findIndex(([one]) => same(one, value));
    if (place < 0 && value !== null && value !== undefined) {
      pairs.push([value, String(value)]); // what stands in a record may be offered no more
      select.append(h("option", { value: String(pairs.length - 1) }, String(value)));
      place = pairs.length - 1;
    }
    select.selectedIndex = Math.max(0, place);
  };
  fill();
  listening(select, get, onchange);
  return { element: select, input: select, get, set, refresh: fill };
}

function makeCheckbox(id, name, field, choices, onchange) {
  const input = h("input", { id, type: "checkbox" });
  const get = () => input.checked;
  listening(input, get, onchange);
  return { element: input, input, get, set: (value) => (input.checked = Boolean(value)) };
}

function makeNumber(id, name, field, choices, onchange) {
  const isWhole = field.type === "integer";
  const low = field.minimum ?? field.exclusiveMinimum;
  const high = Math.min(field.maximum ?? field.exclusiveMaximum ?? Infinity, Number.MAX_SAFE_INTEGER);
  const isShare = !isWhole && !field.isNullable && field.minimum === 0 && field.maximum === 1;
  const input = h("input", {
    id,
    type: isShare ? "range" : "number",
    inputmode: isWhole ? "numeric" : "decimal",
    min: low === undefined ? undefined : String(low),
    max: high < Number.MAX_SAFE_INTEGER || isWhole ? String(high) : undefined,
    step: isShare ? "0.01" : isWhole ? "1" : "any",
  });
  let exact = null; // a slider rounds what it is given; a value that nobody moved stays whole
  const typed = () => (input.value === "" ? null : isWhole ? Math.round(Number(input.value)) : Number(input.value));
  const get = () => exact ?? typed();
  listening(input, get, onchange);
  const open = (isOpen) => {
    input.required = !field.isNullable && !isOpen;
    input.placeholder = input.required ? "" : field.blank;
  };
  if (!isShare) return { element: input, input, get, set: (v) => (input.value = v ?? ""), open };
  const output = h("output", { for: id });
  const show = () => (output.textContent = Number(input.value).toFixed(2));
  input.addEventListener("input", () => ((exact = null), show()));
  const set = (value) => ((exact = value ?? 0), (input.value = String(exact)), show());
  return { element: h("div", { class: "range" }, input, output), input, get, set };
}

function makeText(id, name, field, choices, onchange) {
  const isLong = (field.maxLength ?? 0) >= 1000 && !field.pattern && name === "prompt";
  const input = h(isLong ? "textarea" : "input", {
    id,
    type: isLong ? undefined : "text",
    rows: isLong ? "3" : undefined,
    pattern: field.pattern?.replace(/^\^|\$$/g, ""),
    autocomplete: "off",
    spellcheck: "false",
    placeholder: field.isNullable && !isLong ? field.blank : undefined,
    list: field.suggestions && `${id}-list`,
  });
  const get = () => (input.value.trim() === "" ? null : input.value.trim());
  listening(input, get, onchange);
  const made = { element: input, input, get, set: (value) => (input.value = value ?? "") };
  if (!field.suggestions) return made;
  const list = h("datalist", { id: `${id}-list` });
  const refresh = () => list.replaceChildren(...field.suggestions().map((one) => h("option", { value: one })));
  refresh();
  return { ...made, element: h("div", {}, input, list), refresh };
}

function makeDate(id, name, field, choices, onchange) {
  const input = h("input", { id, type: "datetime-local" });
  const get = () => (input.value ? new Date(input.value).toISOString() : null);
  const set = (value) => {
    const date = value ? new Date(value) : null;
    const local = date && new Date(date.getTime() - date.getTimezoneOffset() * 60000);
    input.value = local ? local.toISOString().slice(0, 16) : "";
  };
  listening(input, get, onchange);
  return { element: input, input, get, set };
}

/** Anything else is written as JSON. */
function makeJson(id, name, field, choices, onchange) {
  const input = h("input", { id, type: "text", spellcheck: "false" });
  const get = () => {
    try {
      return input.value.trim() === "" ? null : JSON.parse(input.value);
    } catch {
      return input.value;
    }
  };
  const set = (value) => (input.value = value === null || value === undefined ? "" : JSON.stringify(value));
  listening(input, get, onchange);
  return { element: input, input, get, set };
}

/** "More settings", folded away; nothing where there are none. */
export function folded(title, ...contents) {
  const isEmpty = contents.every((one) => one.matches(".fields") && !one.children.length);
  const more = h("details", { class: "more", hidden: isEmpty }, h("summary", {}, title), ...contents);
  // A browser refuses to send a wrong field and cannot show one that is folded away.
  more.addEventListener("invalid", () => (more.open = true), true);
  return more;
}
