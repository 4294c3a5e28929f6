import type { Job } from "./types";

export interface JobListener {
  onJob?(job: Job): void;
  onDeleted?(id: string): void;
  /** Events may have been missed: read again what is shown. */
  onReconnect?(): void;
}

const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

/** One connection for the whole page, held open as long as somebody is signed in. */
export class JobEvents {
  #listeners = new Set<JobListener>();
  #source: EventSource | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wait = FIRST_WAIT;
  #interrupted = false;

  constructor(private readonly url = "/api/events") {}

  /** Starts telling `listener`; the result stops it. */
  listen(listener: JobListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  open(): void {
    if (this.#source) return;
    const source = new EventSource(this.url);
    this.#source = source;
    source.onopen = () => this.#opened();
    source.onerror = () => this.#failed();
    source.addEventListener("job", (event) => {
      const job = JSON.parse(event.data) as Job;
      this.#listeners.forEach((listener) => listener.onJob?.(job));
    });
    source.addEventListener("job_deleted", (event) => {
      const { id } = JSON.parse(event.data) as { id: string };
      this.#listeners.forEach((listener) => listener.onDeleted?.(id));
    });
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
    this.#interrupted = false;
  }

  #opened(): void {
    this.#wait = FIRST_WAIT;
    if (!this.#interrupted) return;
    this.#interrupted = false;
    this.#listeners.forEach((listener) => listener.onReconnect?.());
  }

  /** The browser tries again after a cut by itself, but not after an answer such as 503. */
  #failed(): void {
    this.#interrupted = true;
    if (this.#source?.readyState !== EventSource.CLOSED) return;
    this.#source = null;
    this.#timer = setTimeout(() => this.open(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }
}

export const jobEvents = new JobEvents();
