/** How fast something counts up, smoothed, so that the remaining time does not jump about. */
export class Rate {
  #time: number | null = null;
  #count = 0;
  /** Counts a second; null before two readings. */
  perSecond: number | null = null;

  /** Half of the weight is on the last `halfLife` seconds. */
  constructor(private readonly halfLife = 3) {}

  /** `milliseconds` on any clock that only goes forward. */
  read(count: number, milliseconds: number): void {
    if (this.#time !== null && milliseconds > this.#time) {
      const seconds = (milliseconds - this.#time) / 1000;
      const current = (count - this.#count) / seconds;
      const keep = this.perSecond === null ? 0 : 0.5 ** (seconds / this.halfLife);
      this.perSecond = keep * (this.perSecond ?? 0) + (1 - keep) * current;
    }
    this.#time = milliseconds;
    this.#count = count;
  }

  /** Seconds until `total`; null while unknown. */
  remaining(total: number): number | null {
    return this.perSecond ? (total - this.#count) / this.perSecond : null;
  }
}
