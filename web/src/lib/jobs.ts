// What the states and stages of a job are called, and what may be done in each.
import type { Job, JobState } from "./api/types";
import { languageName } from "./languages";

export type Tone = "neutral" | "busy" | "good" | "bad";

interface StateView {
  label: string;
  tone: Tone;
  /** Still to be worked on: it can be canceled, and not yet be deleted or tried again. */
  active: boolean;
}

export const STATES: Record<JobState, StateView> = {
  queued: { label: "Waiting", tone: "neutral", active: true },
  running: { label: "Running", tone: "busy", active: true },
  delivering: { label: "Delivering", tone: "busy", active: true },
  finished: { label: "Finished", tone: "good", active: false },
  failed: { label: "Failed", tone: "bad", active: false },
  canceled: { label: "Canceled", tone: "neutral", active: false },
  expired: { label: "Expired", tone: "bad", active: false },
};

export interface StateFilter {
  key: string;
  label: string;
  states: JobState[];
}

export const FILTERS: StateFilter[] = [
  { key: "all", label: "All", states: [] },
  { key: "active", label: "Active", states: ["queued", "running", "delivering"] },
  { key: "finished", label: "Finished", states: ["finished"] },
  { key: "failed", label: "Failed", states: ["failed", "expired"] },
  { key: "canceled", label: "Canceled", states: ["canceled"] },
];

/** May it be tried again? */
export function canRetry(job: Job): boolean {
  return !STATES[job.state].active && job.state !== "finished";
}

/** Was it transcribed? What failed or expired afterwards is at most a delivery. */
export function hasTranscript(job: Job): boolean {
  return job.transcribed_at !== null && job.state !== "queued" && job.state !== "running";
}

/** Does it need another URL of its recording before it can be tried again? */
export function needsFreshUrl(job: Job): boolean {
  return job.state === "expired" && job.source !== null && !hasTranscript(job);
}

/** Does the list, as filtered, show this job? The server's rule, for events that come by. */
export function isShown(job: Job, states: readonly JobState[], search: string): boolean {
  const named = job.name.toLowerCase().includes(search.trim().toLowerCase());
  return named && (states.length === 0 || states.includes(job.state));
}

const STAGES: Record<string, string> = {
  "fetching media": "Fetching the recording",
  "fetching model": "Fetching the model",
  loading: "Loading the model",
  transcribing: "Transcribing",
};

/** What the runner is doing, in words. */
export function stageName(stage: string): string {
  return STAGES[stage] ?? stage.charAt(0).toUpperCase() + stage.slice(1);
}

export const LAYOUTS: Record<string, string> = {
  simple: "Line by line",
  segmentation: "Paragraphs at pauses",
  diarisation: "Paragraphs by speaker",
};

/** Model, language and layout on one line: `base · English, detected`. */
export function summary(job: Job): string {
  return [job.spec.model, languageOf(job)].filter(Boolean).join(" · ");
}

/** The language asked for or found, null while unknown. */
export function languageOf(job: Job): string | null {
  if (job.spec.language) return languageName(job.spec.language);
  return job.language ? `${languageName(job.language)}, detected` : null;
}

/** Seconds that the run took, null before its end. */
export function runningTime(job: Job): number | null {
  const ended = job.transcribed_at ?? job.finished_at; // deliveries may take longer
  if (!job.started_at || !ended) return null;
  return (Date.parse(ended) - Date.parse(job.started_at)) / 1000;
}
