// Thresholds of the probability by AU, as the checkpoint has them or as they were moved.

/**
 * Decides from probabilities. An AU whose checkpoint names no threshold is decided by the service (its maps alone)
 * until a threshold is set for it here. Dispatches `change`.
 */
export class Thresholds extends EventTarget {
  #own = {};
  #moved = new Map();

  /** The checkpoint's own thresholds by AU; what was moved is forgotten. */
  load(own) {
    this.#own = own;
    this.#moved.clear();
    this.dispatchEvent(new Event("change"));
  }

  /** The threshold to show for an AU, and whether one is in force. */
  of(au) {
    return this.#moved.get(au) ?? this.#own[au] ?? 0.5;
  }

  own(au) {
    return this.#own[au] ?? null;
  }

  get moved() {
    return this.#moved.size > 0;
  }

  /** The AUs that were moved, by the value that they were moved to. */
  movedByValue() {
    const groups = new Map();
    for (const [au, value] of this.#moved) groups.set(value, [...(groups.get(value) ?? []), au]);
    return groups;
  }

  set(au, value) {
    this.#moved.set(au, value);
    this.dispatchEvent(new Event("change"));
  }

  /** Every AU's own threshold plus the same amount. */
  shift(aus, amount) {
    for (const au of aus) this.#moved.set(au, Math.min(1, Math.max(0, (this.#own[au] ?? 0.5) + amount)));
    if (amount === 0) this.#moved.clear();
    this.dispatchEvent(new Event("change"));
  }

  reset() {
    this.#moved.clear();
    this.dispatchEvent(new Event("change"));
  }

  /** Whether an AU counts as occurred. `active` is the service's own decision. */
  decide(au, probability, active) {
    if (probability === null || Number.isNaN(probability)) return false;
    if (this.#moved.has(au)) return probability >= this.#moved.get(au);
    return au in this.#own ? probability >= this.#own[au] : active;
  }
}
