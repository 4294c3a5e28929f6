import { expect, test } from "vitest";
import { downloadAddress } from "./downloads";

const shaping = { chars_per_line: 42, lines_per_cue: 2, words_per_cue: null };

test("subtitles carry their shape", () => {
  expect(downloadAddress("1", "srt", shaping)).toBe(
    "/api/jobs/1/transcript?format=srt&download=1&chars_per_line=42&lines_per_cue=2",
  );
});

test("other formats have none", () => {
  expect(downloadAddress("1", "csv", shaping)).toBe("/api/jobs/1/transcript?format=csv&download=1");
});
