import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { JobEvents } from "./events";

/** An EventSource whose server is the test. */
class Wire extends EventTarget {
  static readonly CLOSED = 2;
  static opened: Wire[] = [];
  readyState = 0;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;

  constructor(readonly url: string) {
    super();
    Wire.opened.push(this);
  }

  say(type: string, data: unknown) {
    this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data) }));
  }

  refuse() {
    this.readyState = Wire.CLOSED;
    this.onerror?.();
  }

  close() {
    this.readyState = Wire.CLOSED;
  }
}

const last = () => Wire.opened.at(-1)!;

beforeEach(() => {
  Wire.opened = [];
  vi.stubGlobal("EventSource", Wire);
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

test("jobs and deletions reach whoever listens, until they stop", () => {
  const events = new JobEvents();
  const [onJob, onDeleted] = [vi.fn(), vi.fn()];
  const stop = events.listen({ onJob, onDeleted });
  events.open();
  last().say("job", { id: "1" });
  last().say("job_deleted", { id: "2" });
  stop();
  last().say("job", { id: "3" });
  expect(onJob.mock.calls).toEqual([[{ id: "1" }]]);
  expect(onDeleted.mock.calls).toEqual([["2"]]);
});

test("a second connection says that news may have been missed; the first does not", () => {
  const events = new JobEvents();
  const onReconnect = vi.fn();
  events.listen({ onReconnect });
  events.open();
  last().onopen?.();
  expect(onReconnect).not.toHaveBeenCalled();
  last().onerror?.();
  last().onopen?.();
  expect(onReconnect).toHaveBeenCalledOnce();
});

test("a refusal is tried again, ever more slowly, and again at once after a success", () => {
  const events = new JobEvents();
  events.open();
  for (const [wait, count] of [
    [1000, 2],
    [2000, 3],
    [4000, 4],
  ] as const) {
    last().refuse();
    vi.advanceTimersByTime(wait - 1);
    expect(Wire.opened).toHaveLength(count - 1);
    vi.advanceTimersByTime(1);
    expect(Wire.opened).toHaveLength(count);
  }
  last().onopen?.();
  last().refuse();
  vi.advanceTimersByTime(1000);
  expect(Wire.opened).toHaveLength(5);
});

test("after closing, nothing is tried again", () => {
  const events = new JobEvents();
  events.open();
  last().refuse();
  events.close();
  vi.advanceTimersByTime(60_000);
  expect(Wire.opened).toHaveLength(1);
});
