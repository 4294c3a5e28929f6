import { api, ask } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import type { Delivery } from "../api/types";
import { isMoving } from "../deliveries";

const EVERY = 4_000;

/** A list of deliveries that is read again for as long as any of them may still change. */
export class DeliveryList {
  items = $state<Delivery[]>([]);
  problem = $state<Problem | null>(null);
  loaded = $state(false);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(readonly read: () => Promise<Delivery[]>) {}

  async load(): Promise<void> {
    clearTimeout(this.#timer);
    try {
      this.items = await this.read();
      this.problem = null;
      this.loaded = true;
    } catch (error) {
      this.problem = asProblem(error);
    }
    if (!this.#stopped && isMoving(this.items))
      this.#timer = setTimeout(() => void this.load(), EVERY);
  }

  /** Sends once more what was given up. */
  async again(delivery: Delivery): Promise<void> {
    const params = { path: { delivery_id: delivery.id } };
    await ask(api.POST("/api/deliveries/{delivery_id}/redeliver", { params }));
    await this.load();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }
}
