// Totals over time: stacked bars and lines, as plain SVG.

import { el, find, svg, table } from "./dom.js";
import { UNKNOWN, count, known, momentOf, money, short, span } from "./format.js";

const HEIGHT = 84;
const FOOT = 14;
const ROOM = HEIGHT - FOOT;
const COLOURS = 6; // plus one for all others
const GAP = 1;

// data: a response of /console/totals.
export function drawTotals(data) {
  const groups = stackOf(data);
  const { counts, ttfb, duration } = data.all;
  const of = (pick) => groups.map((group) => ({ ...group, values: group.buckets.map(pick) }));
  const tokens = (one) => (one.input_tokens ?? 0) + (one.output_tokens ?? 0);
  const troubles = [
    { name: "denied", colour: "warn", values: data.buckets.map((bucket) => bucket.counts.denials) },
    { name: "failed", colour: "bad", values: data.buckets.map((bucket) => bucket.counts.errors) },
  ];
  const lines = (what) => ["p50", "p95", "p99"].map((name, index) => ({ name, colour: index, values: data.buckets.map((bucket) => bucket[what][name]) }));
  const used = known(counts.input_tokens) || known(counts.output_tokens);
  find("plots").replaceChildren(
    plot(data, { title: "Calls", value: count(counts.calls), aside: null, stack: of((one) => one.calls), format: short }),
    plot(data, { title: "Tokens", value: used ? short(tokens(counts)) : UNKNOWN, aside: used ? `${short(counts.input_tokens)} in, ${short(counts.output_tokens)} out` : null,
      stack: of(tokens), format: short }),
    plot(data, { title: "Cost", value: money(counts.cost_usd), aside: known(counts.cost_usd) ? "list price" : null, stack: of((one) => one.cost_usd ?? 0), format: money }),
    plot(data, { title: "Denied and failed", value: count(counts.denials + counts.errors), aside: `${count(counts.denials)} denied, ${count(counts.errors)} failed`,
      keys: [["bwarn", `${count(counts.denials)} denied`], ["bbad", `${count(counts.errors)} failed`]], stack: troubles, format: short }),
    plot(data, { title: "Duration", value: span(duration.p50), aside: percentiles(duration), keys: percentileKeys(duration), lines: lines("duration"), format: span }),
    plot(data, { title: "First byte", value: span(ttfb.p50), aside: percentiles(ttfb), keys: percentileKeys(ttfb), lines: lines("ttfb"), format: span }),
  );
  find("groups").replaceChildren(...(counts.calls ? [groupTable(data, groups)] : []));
}

const percentiles = (of) => (known(of.p95) ? `median; p95 ${span(of.p95)}, p99 ${span(of.p99)}` : null);

const percentileKeys = (of) => (known(of.p95) ? [["k0", "median"], ["k1", `p95 ${span(of.p95)}`], ["k2", `p99 ${span(of.p99)}`]] : null);

// The groups with a colour of their own, and all others as one.
function stackOf(data) {
  const named = data.groups.map((group) => ({ ...group, name: group.name ?? "unknown" }));
  const shown = named.slice(0, COLOURS).map((group, index) => ({ ...group, colour: index }));
  const others = [...named.slice(COLOURS), ...(data.other ? [data.other] : [])];
  if (!others.length) return shown;
  const sum = (name, place) => others.reduce((total, group) => total + (group.buckets[place][name] ?? 0), 0);
  const buckets = data.buckets.map((_, place) =>
    Object.fromEntries(["calls", "input_tokens", "output_tokens", "cost_usd"].map((name) => [name, sum(name, place)])));
  return [...shown, { name: "others", colour: COLOURS, buckets }];
}

// The width of a plot in units: close to its pixels, so that its text has one size on all screens.
export function widthOf(plots) {
  const wide = plots.clientWidth;
  return wide > 990 ? 400 : wide > 600 ? 320 : 150;
}

function plot(data, about) {
  const series = about.stack ?? about.lines;
  const length = data.buckets.length;
  const tops = Array.from({ length }, (_, place) => (about.stack
    ? series.reduce((total, one) => total + one.values[place], 0)
    : Math.max(0, ...series.map((one) => one.values[place] ?? 0))));
  const highest = Math.max(...tops, 0);
  const width = widthOf(find("plots"));
  const step = width / length;
  const y = (value) => (highest ? ROOM - (value / highest) * (ROOM - 12) : ROOM);
  const mark = svg("rect", { class: "mark", y: 0, height: ROOM, width: step, visibility: "hidden" });
  const marks = about.stack ? bars(series, step, y) : paths(series, step, y);
  const label = `${about.title} over the last ${data.period}: ${about.value}${about.aside ? `, ${about.aside}` : ""}`;
  const picture = svg(
    "svg",
    { role: "img", "aria-label": label, viewBox: `0 0 ${width} ${HEIGHT}`, preserveAspectRatio: "xMidYMid meet" },
    mark,
    svg("line", { class: "base", x1: 0, x2: width, y1: ROOM, y2: ROOM }),
    marks,
    highest
      ? svg("text", { class: "axis", x: 0, y: 9 }, about.format(highest))
      : svg("text", { class: "nothing", x: width / 2, y: ROOM - 10, "text-anchor": "middle" }, "nothing yet"),
    svg("text", { class: "axis", x: 0, y: HEIGHT - 2 }, momentOf(data.buckets[0].start, data.period)),
    svg("text", { class: "axis", x: width, y: HEIGHT - 2, "text-anchor": "end" }, "now"),
  );
  const read = el("p", { class: "read", "aria-hidden": "true" });
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const place = Math.max(0, Math.min(length - 1, Math.floor(((event.clientX - box.left) / box.width) * length)));
    mark.setAttribute("x", place * step);
    mark.setAttribute("visibility", "visible");
    read.textContent = reading(data, about, series, place);
  });
  picture.addEventListener("pointerleave", () => {
    mark.setAttribute("visibility", "hidden");
    read.textContent = "";
  });
  const keys = about.keys?.map(([colour, text]) => el("span", {}, el("span", { class: `key ${colour}`, "aria-hidden": "true" }), text));
  const head = el("div", { class: "head" }, el("span", { class: "value" }, about.value), about.aside ? el("span", { class: "aside" }, keys ?? about.aside) : null);
  return el("div", { class: "plot" }, el("h3", {}, about.title), head, picture, read);
}

function reading(data, about, series, place) {
  const found = series.filter((one) => known(one.values[place]) && (about.lines || one.values[place] > 0));
  const values = found.map((one) => `${one.name} ${about.format(one.values[place])}`).join(", ");
  return `${momentOf(data.buckets[place].start, data.period)}  ${values || "none"}`;
}

function bars(stack, step, y) {
  const base = new Float64Array(stack[0]?.values.length ?? 0);
  const found = [];
  for (const { colour, values } of stack) {
    values.forEach((value, place) => {
      if (!value) return;
      const [bottom, top] = [y(base[place]), y(base[place] + value)];
      base[place] += value;
      found.push(svg("rect", { class: `f${colour}`, x: place * step + GAP / 2, width: Math.max(1, step - GAP), y: top, height: Math.max(0.75, bottom - top) }));
    });
  }
  return found;
}

// An unknown value interrupts a line. A single value is a dot.
function paths(lines, step, y) {
  return lines.flatMap(({ colour, values }) => {
    let path = "";
    const dots = [];
    values.forEach((value, place) => {
      if (!known(value)) return;
      const [x, top] = [((place + 0.5) * step).toFixed(1), y(value).toFixed(1)];
      path += `${known(values[place - 1]) ? "L" : "M"}${x} ${top}`;
      if (!known(values[place - 1]) && !known(values[place + 1])) dots.push(svg("circle", { class: `d${colour}`, cx: x, cy: top, r: 2 }));
    });
    return path ? [svg("path", { class: `line s${colour}`, d: path }), ...dots] : [];
  });
}

function groupTable(data, groups) {
  const number = true;
  const heads = [{ name: data.by[0].toUpperCase() + data.by.slice(1) }, { name: "Calls", number }, { name: "Denied", number }, { name: "Failed", number },
    { name: "Tokens in", number }, { name: "Tokens out", number }, { name: "Cost", number }, { name: "Median", number }, { name: "p95", number }, { name: "p99", number }];
  const colour = new Map(groups.map((group) => [group.name, group.colour]));
  const all = [...data.groups, ...(data.other ? [{ ...data.other, name: "others" }] : [])];
  const rows = all.map(({ name, counts, duration }) => [
    [el("span", { class: `key b${colour.get(name ?? "unknown") ?? COLOURS}`, "aria-hidden": "true" }), name ?? "unknown"],
    count(counts.calls), count(counts.denials), count(counts.errors), count(counts.input_tokens), count(counts.output_tokens),
    money(counts.cost_usd), span(duration.p50), span(duration.p95), span(duration.p99),
  ]);
  return table(`Totals of the last ${data.period}, by ${data.by}`, heads, rows);
}
