import { expect, test } from "vitest";
import { segmentAt } from "./segments";

const segments = [
  { start: 1, end: 2 },
  { start: 2, end: 3.5 },
  { start: 5, end: 6 },
];

test.each([
  [0, -1],
  [1, 0],
  [1.99, 0],
  [2, 1],
  [4, -1],
  [5.5, 2],
  [6, -1],
])("at %d s segment %d is heard", (time, index) => expect(segmentAt(segments, time)).toBe(index));

test("without segments nothing is heard", () => expect(segmentAt([], 1)).toBe(-1));
