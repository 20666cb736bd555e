// How fast something comes: over the last seconds, because lines change.

const WINDOW = 8000; // ms
const LEAST = 800; // ms, before which nothing is said

export class Speed {
  /** @type {[time: number, amount: number][]} the oldest first */
  #seen = [];

  /** Note how much there is by now. */
  add(amount, now = performance.now()) {
    this.#seen.push([now, amount]);
    while (this.#seen.length > 2 && now - this.#seen[1][0] >= WINDOW) {
      this.#seen.shift();
    }
  }

  /** Per second; null while nobody can say. */
  get perSecond() {
    const [first, last] = [this.#seen[0], this.#seen.at(-1)];
    const [span, amount] = first && last ? [last[0] - first[0], last[1] - first[1]] : [0, 0];
    return span >= LEAST && amount > 0 ? (1000 * amount) / span : null;
  }
}
