import { beforeEach, expect, test, vi } from "vitest";

/** The server. The client takes `fetch` when it is loaded, so this has to be there before. */
const answer = vi.hoisted(() => {
  const stub = vi.fn<(request: Request) => Promise<Response>>();
  globalThis.fetch = stub as typeof fetch;
  return stub;
});

import { jobEvents, type JobListener } from "../api/events";
import type { Job } from "../api/types";
import { JobList } from "./jobs.svelte";

const job = (id: number, change: Partial<Job> = {}) =>
  ({
    id: `${id}`,
    name: `talk ${id}.wav`,
    state: "finished",
    created_at: new Date(Date.UTC(2026, 0, id)).toISOString(),
    ...change,
  }) as Job;

const ids = (list: JobList) => list.items.map(({ id }) => id);
const page = (items: Job[], next: string | null = null) => Response.json({ items, next });

/** An answer that comes when the test says so. */
function deferred() {
  let resolve!: (response: Response) => void;
  const promise = new Promise<Response>((done) => (resolve = done));
  return { promise, resolve };
}

let listener: JobListener;

beforeEach(() => {
  answer.mockReset();
  vi.spyOn(jobEvents, "listen").mockImplementation((given) => {
    listener = given;
    return () => {};
  });
});

async function started(items: Job[], next: string | null = null) {
  answer.mockResolvedValueOnce(page(items, next));
  const list = new JobList();
  list.start();
  await vi.waitFor(() => expect(list.loaded).toBe(true));
  return list;
}

test("news changes, adds and removes jobs, in the order of their making", async () => {
  const list = await started([job(3), job(1)]);
  listener.onJob?.(job(1, { state: "failed" }));
  listener.onJob?.(job(2));
  listener.onJob?.(job(4));
  listener.onDeleted?.("3");
  expect(ids(list)).toEqual(["4", "2", "1"]);
  expect(list.items[2]!.state).toBe("failed");
});

test("a job that no longer fits the filter leaves the list", async () => {
  const list = await started([job(1, { state: "running" })]);
  list.filter = "active";
  listener.onJob?.(job(1, { state: "finished" }));
  listener.onJob?.(job(2, { state: "queued" }));
  expect(ids(list)).toEqual(["2"]);
});

test("a job older than the last one shown waits for its page", async () => {
  const list = await started([job(5), job(4)], "4");
  listener.onJob?.(job(1));
  expect(ids(list)).toEqual(["5", "4"]);
});

test("the next page follows the first, without repeating what is there", async () => {
  const list = await started([job(3), job(2)], "2");
  answer.mockResolvedValueOnce(page([job(2), job(1)]));
  await list.more();
  expect(ids(list)).toEqual(["3", "2", "1"]);
  expect(new URL(answer.mock.calls[1]![0].url).searchParams.get("cursor")).toBe("2");
  expect(list.next).toBeNull();
});

test("news that comes while a page is on its way is newer than the page", async () => {
  const list = await started([]);
  const slow = deferred();
  answer.mockReturnValueOnce(slow.promise);
  const reading = list.load();
  listener.onJob?.(job(1, { state: "finished" }));
  slow.resolve(page([job(1, { state: "running" })]));
  await reading;
  expect(list.items.map(({ state }) => state)).toEqual(["finished"]);
});

test("of two searches under way, the later one counts", async () => {
  const list = await started([]);
  const slow = deferred();
  answer.mockReturnValueOnce(slow.promise);
  const first = list.load();
  list.search = "talk 2";
  answer.mockResolvedValueOnce(page([job(2)]));
  await list.load();
  slow.resolve(page([job(1)]));
  await first;
  expect(ids(list)).toEqual(["2"]);
});

test("a refusal is kept, to be shown", async () => {
  answer.mockResolvedValueOnce(Response.json({ detail: "No." }, { status: 503 }));
  const list = new JobList();
  list.start();
  await vi.waitFor(() => expect(list.problem?.message).toBe("No."));
});
