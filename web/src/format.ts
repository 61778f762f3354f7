// SPDX-License-Identifier: Apache-2.0
// Quantities as text, to the character as sgxlens.units and sgxlens.report.terminal have them; a
// test compares the two.
import type { Range } from "./data";

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL = ["", "k", "M", "G", "T", "P", "E"];
const EXACT_DIGITS = 60;

/** As Python's `f"{value:.{digits}f}"`: of two equally near numbers the even one. */
export function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  const exact = Math.abs(value).toFixed(Math.min(digits + EXACT_DIGITS, 100));
  const rest = exact.slice(exact.length - EXACT_DIGITS);
  if (rest[0] !== "5" || /[^0]/.test(rest.slice(1))) return text;
  const below = exact.slice(0, exact.length - EXACT_DIGITS).replace(/\.$/, "");
  const isEven = "02468".includes(below.at(-1) ?? "");
  if (!isEven) return text;
  return (value < 0 ? "-" : "") + below;
}

/** As Python's `f"{value:.{digits}g}"`. */
export function general(value: number, digits: number): string {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  if (exponent < -4 || exponent >= digits) {
    const [mantissa = "", power = ""] = value.toExponential(digits - 1).split("e");
    const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    return `${short}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  const text = fixed(value, digits - 1 - exponent);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

/** Groups of thousands, as Python's `,`. */
export function grouped(text: string): string {
  const [whole = "", rest] = text.split(".");
  const separated = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return rest === undefined ? separated : `${separated}.${rest}`;
}

function threeDigits(value: number): string {
  return fixed(value, Math.abs(value) < 9.995 ? 2 : Math.abs(value) < 99.95 ? 1 : 0);
}

function scaled(
  value: number,
  base: number,
  units: readonly string[],
  { isNeeded = false, isExactShort = true } = {},
): string {
  let rest = value;
  let index = 0;
  while (Math.abs(rest) >= (index === 0 ? base : 999.5) && index < units.length - 1) {
    rest /= base;
    index += 1;
  }
  const isWhole = index === 0 || Math.abs(rest) >= 99.95 || (isExactShort && Number.isInteger(rest));
  const digits = isWhole ? 0 : Math.abs(rest) >= 9.995 ? 1 : 2;
  if (isNeeded) rest = Math.ceil(rest * 10 ** digits) / 10 ** digits;
  return `${grouped(fixed(rest, digits))} ${units[index]}`.trimEnd();
}

export function bytes(size: number): string {
  return scaled(size, 1024, BINARY);
}

/** Of what must not be less: rounded up. */
export function neededBytes(size: number): string {
  return scaled(size, 1024, BINARY, { isNeeded: true });
}

export function count(value: number): string {
  if (Math.abs(value) < 10_000 && Number.isInteger(value)) return grouped(String(value));
  return scaled(value, 1000, DECIMAL, { isExactShort: false });
}

/** A count that may be an average: `<0.01`, `0.41`, `4.1`, `12`. */
export function expectedCount(value: number): string {
  if (value >= 9.95 || Number.isInteger(value)) return count(Number(fixed(value, 0)));
  return value < 0.01 ? "<0.01" : fixed(value, value < 0.0995 ? 3 : value < 0.995 ? 2 : 1);
}

/** An expected count beside others that are far more: a part of one does not matter. */
export function wholeCount(value: number): string {
  return value > 0 && value < 0.5 ? "<1" : count(Math.round(value));
}

export function seconds(value: number): string {
  if (value === 0) return "0 s";
  if (Math.abs(value) < 9.995e-7) {
    return Math.abs(value) >= 1e-10 ? `${threeDigits(value * 1e9)} ns` : "<0.1 ns";
  }
  if (Math.abs(value) < 0.0009995) return `${threeDigits(value * 1e6)} us`;
  if (value < 0.9995) return `${threeDigits(value * 1000)} ms`;
  if (value < 119.5) return `${threeDigits(value)} s`;
  const whole = Number(fixed(value, 0));
  const minutes = Math.floor(whole / 60);
  const rest = whole - minutes * 60;
  if (minutes < 120) return `${minutes} min ${String(rest).padStart(2, "0")} s`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export function ratio(value: number): string {
  return grouped(fixed(value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0));
}

/** Three digits, never in powers of ten. */
export function number(value: number): string {
  if (value === 0) return "0";
  if (Math.abs(value) >= 99.95) return grouped(fixed(value, 0));
  return general(value, Math.abs(value) >= 0.0001 ? 3 : 1);
}

export function percent(value: number): string {
  if (Number.isNaN(value)) return "-";
  const hundred = 100 * value;
  if (hundred === 0) return "0 %";
  if (hundred < 0.001) return "<0.001 %";
  if (hundred === 100) return "100 %";
  if (hundred >= 10) {
    const text = fixed(hundred, 1);
    return `${text === "100.0" ? ">99.9" : text} %`;
  }
  const exponent = Number(hundred.toExponential(2).split("e")[1]);
  return `${fixed(hundred, 2 - exponent)} %`;
}

export function share(part: number, whole: number): string {
  if (!whole) return "-";
  const value = part / whole;
  if (value > 0 && value < 1e-4) return "<0.01 %";
  return value > 0 && value < 0.09995 ? `${fixed(100 * value, 2)} %` : percent(value);
}

export function ofNative(added: number, native: number): string {
  const value = added / native;
  return value < 0.9995 ? percent(value) : `${grouped(fixed(100 * value, 0))} %`;
}

export function range(value: Range, one: (value: number) => string): string {
  const low = one(value.low);
  const high = one(value.high);
  if (low === high) return low;
  // No time is none in any unit.
  if (high === "0 s" && low.split(" ").length === 2) return low.replace(" ", " to 0 ");
  if (low === "0 s") return `0 to ${high}`;
  const unit = ` ${high.split(" ").at(-1)}`;
  const isSame = low.split(" ").length === 2 && high.split(" ").length === 2 && low.endsWith(unit);
  return `${isSame ? low.slice(0, -unit.length) : low} to ${high}`;
}

function signed(value: number, text: string): string {
  return value === 0 ? text : `${value > 0 ? "+" : "-"}${text}`;
}

/** A difference of times. */
export function signedSeconds(value: number): string {
  return signed(value, seconds(Math.abs(value)));
}

/** A difference of counts. */
export function signedCount(value: number): string {
  return signed(value, count(Math.abs(value)));
}

/** A difference of ratios. */
export function signedRatio(value: number): string {
  const text = ratio(Math.abs(value));
  return signed(text === "0.00" ? 0 : value, text);
}

/** A quantity for reading: with micro and minus signs, and without a line break. */
export function shown(text: string): string {
  return sentence(text)
    .replaceAll(" ", "\u00a0")
    .replace(/(?<=^|\u00a0)-(?=\d)/g, "\u2212");
}

/** Text with quantities in it for reading: with micro signs. */
export function sentence(text: string): string {
  return text.replace(/(?<=[0-9] )us\b/g, "\u00b5s");
}

/** A name of whatever length, cut in the middle: its ends tell most. */
export function clip(name: string, most = 72): string {
  if (name.length <= most) return name;
  const end = Math.floor(most / 3);
  return `${name.slice(0, most - end - 1)}\u2026${name.slice(-end)}`;
}

/** A word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\"'\"'")}'`;
}
