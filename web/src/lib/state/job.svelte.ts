import { api, ask } from "../api/client";
import { jobEvents } from "../api/events";
import { asProblem, type Problem } from "../api/problem";
import type { Job, Media, Transcript } from "../api/types";
import { hasTranscript } from "../jobs";

/** One job with what belongs to it, kept up to date by events. */
export class OpenJob {
  job = $state<Job | null>(null);
  media = $state<Media | null>(null);
  transcript = $state.raw<Transcript | null>(null);
  problem = $state<Problem | null>(null);
  deleted = $state(false);

  constructor(readonly id: string) {}

  /** Reads it and follows the events from then on; the result stops that. */
  start(): () => void {
    const stop = jobEvents.listen({
      onJob: (job) => job.id === this.id && this.#take(job),
      onDeleted: (id) => id === this.id && (this.deleted = true),
      onReconnect: () => void this.load(),
    });
    void this.load();
    return stop;
  }

  async load(): Promise<void> {
    this.problem = null;
    try {
      this.#take(
        await ask(api.GET("/api/jobs/{job_id}", { params: { path: { job_id: this.id } } })),
      );
    } catch (error) {
      this.problem = asProblem(error);
    }
  }

  async cancel(): Promise<void> {
    this.#take(
      await ask(api.POST("/api/jobs/{job_id}/cancel", { params: { path: { job_id: this.id } } })),
    );
  }

  /** Queues it again, with a fresh URL for its recording where one is given. */
  async retry(url?: string): Promise<void> {
    const params = { path: { job_id: this.id } };
    const body = url ? { input: { url } } : undefined;
    this.#take(await ask(api.POST("/api/jobs/{job_id}/retry", { params, body })));
  }

  #take(job: Job): void {
    this.job = job;
    if (job.media_id && !this.media) void this.#readMedia(job.media_id);
    if (!hasTranscript(job)) this.transcript = null;
    else if (!this.transcript) void this.readTranscript();
  }

  async #readMedia(id: string): Promise<void> {
    try {
      this.media = await ask(
        api.GET("/api/media/{media_id}", { params: { path: { media_id: id } } }),
      );
    } catch {
      this.media = null; // Without its recording, the transcript is still worth showing.
    }
  }

  /** Reads the transcript, also again after it was changed. */
  async readTranscript(): Promise<void> {
    try {
      const params = { path: { job_id: this.id }, query: { format: "json" as const } };
      const answer = await ask(api.GET("/api/jobs/{job_id}/transcript", { params }));
      this.transcript = answer as Transcript;
    } catch (error) {
      this.problem = asProblem(error);
    }
  }
}
