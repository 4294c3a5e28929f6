/** How subtitles are cut; null leaves it to the server. */
export interface Shaping {
  chars_per_line: number | null;
  lines_per_cue: number | null;
  words_per_cue: number | null;
}

interface FormatView {
  label: string;
  note: string;
  shaped: boolean;
}

export const FORMATS: Record<string, FormatView> = {
  txt: { label: "TXT", note: "Plain text", shaped: false },
  srt: { label: "SRT", note: "Subtitles (SubRip)", shaped: true },
  vtt: { label: "VTT", note: "Subtitles (WebVTT)", shaped: true },
  csv: { label: "CSV", note: "Table with times", shaped: false },
  tsv: { label: "TSV", note: "Table, split by tabs", shaped: false },
  json: { label: "JSON", note: "Everything, for programs", shaped: false },
};

/** The address of a transcript as a file in `format`. */
export function downloadAddress(jobId: string, format: string, shaping: Shaping): string {
  const query = new URLSearchParams({ format, download: "1" });
  if (FORMATS[format]?.shaped) {
    for (const [name, value] of Object.entries(shaping)) if (value) query.set(name, String(value));
  }
  return `/api/jobs/${jobId}/transcript?${query}`;
}
