// Models that lie in several files: what the files are called, as runtime/parts.py has it.

const PART = /^(.+)-(\d{5})-of-(\d{5})(\.\w+)$/s;

/**
 * What a file's name says of its being a part of a model.
 *
 * @param {string} name
 * @returns {{ model: string, number: number, count: number } | null} the `number`th, from 1 on, of `count`; all parts of
 *   a `model` have it in common. null for the name of a whole file
 */
export function partOf(name) {
  const [, stem, ...numbers] = PART.exec(name) ?? [];
  const [number, count] = numbers.map(Number);
  return stem && 1 <= number && number <= count ? { model: `${stem}${numbers[2]}`, number, count } : null;
}
