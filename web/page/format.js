// Numbers as people read them, in the reader's own way of writing them.

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });

/** @param {number} number */
export function count(number) {
  return whole.format(number);
}

/** @type {[string, number][]} */
const UNITS = [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]];

/** Bytes in decimal units, as disks and networks count. @param {number} number */
export function bytes(number) {
  for (const [unit, size] of UNITS) {
    if (number >= size) {
      return `${(number < 100 * size && number >= 1e6 ? tenths : whole).format(number / size)} ${unit}`;
    }
  }
  return `${whole.format(number)} B`;
}

/** A time in seconds: "0.84 s", "12 s", "3 min", "1 h 20 min". @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) {
    return `${(seconds < 1 ? hundredths : tenths).format(seconds)} s`;
  }
  if (seconds < 100) {
    return `${whole.format(seconds)} s`;
  }
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Of tokens per second. @param {number} number */
export function rate(number) {
  return (number < 100 ? tenths : whole).format(number);
}
