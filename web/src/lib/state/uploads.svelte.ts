import { api, ask, idempotencyKey } from "../api/client";
import { asProblem, type Problem } from "../api/problem";
import type { JobSpec } from "../api/types";
import { sendMedia, type Sending } from "../api/upload";
import { Rate } from "../rate";

const AT_ONCE = 2;

export type UploadState = "waiting" | "sending" | "checking" | "failed";

/** One file on its way to being a job. */
export class Upload {
  state = $state<UploadState>("waiting");
  sent = $state(0);
  speed = $state<number | null>(null);
  remaining = $state<number | null>(null);
  problem = $state<Problem | null>(null);

  #rate = new Rate();
  #sending: Sending | null = null;
  #mediaId: string | null = null;
  #key = idempotencyKey();

  constructor(
    readonly id: number,
    readonly file: File,
    readonly spec: Partial<JobSpec>,
    readonly email = false,
  ) {}

  /** Sends the file and asks for the job; a second run goes on where the first one failed. */
  async run(): Promise<void> {
    this.problem = null;
    try {
      this.#mediaId ??= await this.#send();
      this.state = "checking";
      await this.#submit(this.#mediaId);
    } catch (error) {
      this.problem = asProblem(error);
      this.state = "failed";
      throw error;
    }
  }

  /** Stops, and takes back what was already stored. */
  abort(): void {
    this.#sending?.abort();
    const id = this.#mediaId;
    if (id && this.state === "failed")
      void api.DELETE("/api/media/{media_id}", { params: { path: { media_id: id } } });
  }

  async #send(): Promise<string> {
    this.state = "sending";
    this.#progress(0);
    this.#sending = sendMedia(this.file, (sent) => this.#progress(sent));
    const media = await this.#sending.media;
    return media.id;
  }

  #progress(sent: number): void {
    this.#rate.read(sent, performance.now());
    this.sent = Math.min(sent, this.file.size);
    this.speed = this.#rate.perSecond;
    this.remaining = this.#rate.remaining(this.file.size);
    if (sent >= this.file.size) this.state = "checking";
  }

  async #submit(mediaId: string): Promise<void> {
    const body = {
      input: { media_id: mediaId, keep: false },
      spec: this.spec as JobSpec,
      notify: { email: this.email },
    };
    const headers = { "Idempotency-Key": this.#key };
    await ask(api.POST("/api/jobs", { body, headers }));
  }
}

/** The files on their way, a few at once. They leave the list when their job exists. */
class Uploads {
  items = $state<Upload[]>([]);
  /** What a screen reader should hear. */
  announcement = $state("");
  #last = 0;

  get busy(): boolean {
    return this.items.some((upload) => upload.state !== "failed");
  }

  add(files: readonly File[], spec: Partial<JobSpec>, email = false): void {
    for (const file of files) this.items.push(new Upload(++this.#last, file, spec, email));
    this.#next();
  }

  again(upload: Upload): void {
    upload.state = "waiting";
    this.#next();
  }

  remove(upload: Upload): void {
    upload.abort();
    this.#forget(upload);
  }

  #forget(upload: Upload): void {
    this.items = this.items.filter((other) => other.id !== upload.id);
    this.#next();
  }

  #next(): void {
    const running = this.items.filter(({ state }) => state === "sending" || state === "checking");
    const waiting = this.items.filter(({ state }) => state === "waiting");
    for (const upload of waiting.slice(0, AT_ONCE - running.length)) void this.#run(upload);
  }

  async #run(upload: Upload): Promise<void> {
    try {
      await upload.run();
      this.announcement = `${upload.file.name} is uploaded and waits to be transcribed.`;
      this.#forget(upload);
    } catch (error) {
      this.announcement = `${upload.file.name}: ${asProblem(error).message}`;
      this.#next();
    }
  }
}

export const uploads = new Uploads();
