import { api, ask, idempotencyKey } from "../api/client";
import { jobEvents } from "../api/events";
import { asProblem, type Problem } from "../api/problem";
import type { Job, JobSpec } from "../api/types";
import { FILTERS, isShown } from "../jobs";

/** The list of jobs as filtered, kept up to date by events. Newest first. */
export class JobList {
  items = $state<Job[]>([]);
  next = $state<string | null>(null);
  loading = $state(false);
  loaded = $state(false);
  problem = $state<Problem | null>(null);
  filter = $state("all");
  search = $state("");

  #request = 0;
  #late: (() => void)[] | null = null;

  get isFiltered(): boolean {
    return this.filter !== "all" || this.search.trim() !== "";
  }

  get #states() {
    return FILTERS.find((filter) => filter.key === this.filter)?.states ?? [];
  }

  /** Reads the first page and follows the events from then on; the result stops that. */
  start(): () => void {
    const stop = jobEvents.listen({
      onJob: (job) => this.#apply(() => this.#put(job)),
      onDeleted: (id) => this.#apply(() => this.#drop(id)),
      onReconnect: () => void this.load(),
    });
    void this.load();
    return stop;
  }

  /** Reads as many jobs as are shown, at least one page, from the newest on. */
  async load(): Promise<void> {
    const limit = Math.min(200, Math.max(50, this.items.length));
    await this.#read(null, limit, (items) => (this.items = items));
  }

  /** Reads the page after the last one shown. */
  async more(): Promise<void> {
    await this.#read(this.next, 50, (items) => {
      const known = new Set(this.items.map((job) => job.id));
      this.items.push(...items.filter((job) => !known.has(job.id)));
    });
  }

  /** Asks for a job on a recording that a runner fetches from `url`. */
  async submitLink(
    url: string,
    keep: boolean,
    spec: Partial<JobSpec>,
    email: boolean,
  ): Promise<void> {
    const body = { input: { url, keep }, spec: spec as JobSpec, notify: { email } };
    const headers = { "Idempotency-Key": idempotencyKey() };
    this.#put(await ask(api.POST("/api/jobs", { body, headers })));
  }

  async cancel(job: Job): Promise<void> {
    this.#put(
      await ask(api.POST("/api/jobs/{job_id}/cancel", { params: { path: { job_id: job.id } } })),
    );
  }

  async retry(job: Job): Promise<void> {
    this.#put(
      await ask(api.POST("/api/jobs/{job_id}/retry", { params: { path: { job_id: job.id } } })),
    );
  }

  async remove(job: Job): Promise<void> {
    await ask(api.DELETE("/api/jobs/{job_id}", { params: { path: { job_id: job.id } } }));
    this.#drop(job.id);
  }

  async #read(cursor: string | null, limit: number, take: (items: Job[]) => void): Promise<void> {
    const request = ++this.#request;
    this.loading = true;
    this.#late = [];
    try {
      const page = await ask(
        api.GET("/api/jobs", { params: { query: this.#query(cursor, limit) } }),
      );
      if (request !== this.#request) return;
      take(page.items);
      this.next = page.next ?? null;
      this.problem = null;
      this.loaded = true;
    } catch (error) {
      if (request === this.#request) this.problem = asProblem(error);
    } finally {
      if (request === this.#request) this.#settle();
    }
  }

  #query(cursor: string | null, limit: number) {
    const search = this.search.trim() || undefined;
    return { state: this.#states, search, cursor: cursor ?? undefined, limit };
  }

  /** Events that came while a page was on its way are newer than the page. */
  #settle(): void {
    const late = this.#late ?? [];
    this.#late = null;
    this.loading = false;
    late.forEach((change) => change());
  }

  #apply(change: () => void): void {
    if (this.#late) this.#late.push(change);
    else change();
  }

  #put(job: Job): void {
    if (!isShown(job, this.#states, this.search)) return this.#drop(job.id);
    const index = this.items.findIndex((other) => other.id === job.id);
    if (index >= 0) this.items[index] = job;
    else this.#insert(job);
  }

  /** A job older than all that are shown belongs to a page that is not loaded yet. */
  #insert(job: Job): void {
    const index = this.items.findIndex((other) => other.created_at <= job.created_at);
    if (index >= 0) this.items.splice(index, 0, job);
    else if (this.next === null) this.items.push(job);
  }

  #drop(id: string): void {
    const index = this.items.findIndex((job) => job.id === id);
    if (index >= 0) this.items.splice(index, 1);
  }
}

export const jobs = new JobList();
