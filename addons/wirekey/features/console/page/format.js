// Formats values for people. null means unknown and looks different from 0.

export const UNKNOWN = "–";
const whole = new Intl.NumberFormat("en");
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat("en-GB", { weekday: "short", hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export const known = (value) => value !== null && value !== undefined;
export const count = (value) => (known(value) ? whole.format(value) : UNKNOWN);
export const short = (value) => (known(value) ? (value < 10000 ? whole.format(Math.round(value)) : compact.format(value)) : UNKNOWN);

export function money(value) {
  if (!known(value)) return UNKNOWN;
  if (value === 0) return "$0";
  return value >= 1 ? `$${value.toFixed(2)}` : `$${Number(value.toPrecision(2)).toFixed(Math.min(8, 1 - Math.floor(Math.log10(value))))}`;
}

export function span(milliseconds) {
  if (!known(milliseconds)) return UNKNOWN;
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return milliseconds < 60000 ? `${(milliseconds / 1000).toFixed(2)} s` : `${(milliseconds / 60000).toFixed(1)} min`;
}

export function remaining(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export const timeOf = (text) => clock.format(new Date(text));
export const fractionOf = (text) => `.${String(new Date(text).getMilliseconds()).padStart(3, "0")}`;
export const dayOf = (seconds) => date.format(new Date(seconds * 1000));
export const momentOf = (seconds, period) => (period === "week" ? weekday : minute).format(new Date(seconds * 1000));
export const words = (text) => text.replaceAll("_", " ");
