import { expect, test } from "vitest";
import { ago, bytes, clock, percent, span } from "./format";

test.each([
  [0, "0:00"],
  [59.9, "0:59"],
  [245, "4:05"],
  [3723, "1:02:03"],
  [-1, "0:00"],
])("clock(%d) is %s", (seconds, text) => expect(clock(seconds)).toBe(text));

test.each([
  [0.2, "under 1 s"],
  [8.4, "8 s"],
  [99, "99 s"],
  [240, "4 min"],
  [3600, "1 h"],
  [4320, "1 h 12 min"],
])("span(%d) is %s", (seconds, text) => expect(span(seconds)).toBe(text));

test.each([
  [0, "0 B"],
  [999, "999 B"],
  [1500, "1.5 kB"],
  [145_217_532, "145 MB"],
  [4_000_000_000, "4.0 GB"],
])("bytes(%d) is %s", (count, text) => expect(bytes(count)).toBe(text));

test.each([
  [0, 0],
  [0.999, 99],
  [1, 100],
  [1.2, 100],
  [-0.1, 0],
])("percent(%d) is %d: 100 only when done", (fraction, whole) =>
  expect(percent(fraction)).toBe(whole),
);

test.each([
  ["2026-03-10T11:59:30Z", "just now"],
  ["2026-03-10T11:40:00Z", "20 min ago"],
  ["2026-03-10T09:00:00Z", "3 hr ago"],
  ["2026-03-09T12:00:00Z", "yesterday"],
])("ago(%s) is %s", (iso, text) => expect(ago(iso, new Date("2026-03-10T12:00:00Z"))).toBe(text));
