import { api, ask } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import type { Delivery, JobEvent, NewWebhook, Webhook } from "../api/types";

const pathOf = (id: string) => ({ path: { webhook_id: id } });

/** One's webhooks, and the secret of the one that was made last. */
export class Webhooks {
  items = $state<Webhook[] | null>(null);
  problem = $state<Problem | null>(null);
  made = $state<NewWebhook | null>(null);

  async load(): Promise<void> {
    try {
      this.items = (await ask(api.GET("/api/webhooks"))).items;
      this.problem = null;
    } catch (error) {
      this.problem = asProblem(error);
    }
  }

  async add(url: string, description: string, events: JobEvent[]): Promise<void> {
    const body = { url, description, events };
    this.made = await ask(api.POST("/api/webhooks", { body }));
    await this.load();
  }

  async rotate(id: string): Promise<void> {
    const params = pathOf(id);
    this.made = await ask(api.POST("/api/webhooks/{webhook_id}/rotate", { params }));
    await this.load();
  }

  async enable(id: string, enabled: boolean): Promise<void> {
    const params = pathOf(id);
    await ask(api.PATCH("/api/webhooks/{webhook_id}", { params, body: { enabled } }));
    await this.load();
  }

  async remove(id: string): Promise<void> {
    await ask(api.DELETE("/api/webhooks/{webhook_id}", { params: pathOf(id) }));
    if (this.made?.id === id) this.made = null;
    await this.load();
  }

  /** Has the endpoint told of an event that did not happen. */
  test(id: string): Promise<unknown> {
    return ask(api.POST("/api/webhooks/{webhook_id}/test", { params: pathOf(id) }));
  }

  async deliveries(id: string): Promise<Delivery[]> {
    const params = pathOf(id);
    return (await ask(api.GET("/api/webhooks/{webhook_id}/deliveries", { params }))).items;
  }
}
