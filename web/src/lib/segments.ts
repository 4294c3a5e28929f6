interface Timed {
  start: number;
  end: number;
}

/** The index of the segment that is heard at `time`; -1 in a pause or outside. */
export function segmentAt(segments: readonly Timed[], time: number): number {
  let [low, high] = [0, segments.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (segments[middle]!.start <= time) low = middle + 1;
    else high = middle;
  }
  const candidate = segments[low - 1];
  return candidate && time < candidate.end ? low - 1 : -1;
}
