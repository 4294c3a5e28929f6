import { expect, test } from "vitest";
import type { Delivery } from "./api/types";
import {
  canSendAgain,
  deliveryName,
  isMoving,
  lastAttempt,
  readLinks,
  shownLink,
} from "./deliveries";

const delivery = (changes: Partial<Delivery>) =>
  ({ kind: "artifact", subject: "vtt", state: "pending", attempts: 0, ...changes }) as Delivery;

test("an artifact is called by its ending, an event by its kind too", () => {
  expect(deliveryName(delivery({}))).toBe("vtt");
  expect(deliveryName(delivery({ kind: "webhook", subject: "job.failed" }))).toBe(
    "Webhook: job.failed",
  );
});

test("only what was given up is sent again as it is", () => {
  const states = ["held", "pending", "delivered", "dead", "expired", "canceled"] as const;
  expect(states.filter((state) => canSendAgain(delivery({ state })))).toEqual(["dead"]);
});

test("what is on its way may change by itself", () => {
  expect(isMoving([delivery({ state: "delivered" }), delivery({ state: "held" })])).toBe(true);
  expect(isMoving([delivery({ state: "delivered" }), delivery({ state: "dead" })])).toBe(false);
});

test("the last attempt is told by status, latency and tries", () => {
  expect(lastAttempt(delivery({}))).toBeNull();
  expect(lastAttempt(delivery({ attempts: 3, status: 503, latency: 0.0421 }))).toBe(
    "HTTP 503 · 42 ms · 3 tries",
  );
  expect(lastAttempt(delivery({ attempts: 1, status: null, latency: null }))).toBeNull();
});

test("links are read from any text, and what is none is named", () => {
  expect(readLinks(" https://a.example/x.mp3\ns3://tapes/1.wav  notes ftp://b.example/y")).toEqual({
    links: ["https://a.example/x.mp3", "s3://tapes/1.wav"],
    refused: ["notes", "ftp://b.example/y"],
  });
});

test("a link is shown without what may be secret in it", () => {
  expect(shownLink("https://me:pw@a.example:8443/x.mp3?X-Amz-Signature=abc#t")).toBe(
    "https://a.example:8443/x.mp3",
  );
  expect(shownLink("s3://tapes/1.wav?versionId=3")).toBe("s3://tapes/1.wav");
});
