import { expect, test } from "vitest";
import { Rate } from "./rate";

test("nothing is known before two readings", () => {
  const rate = new Rate();
  rate.read(0, 0);
  expect(rate.perSecond).toBeNull();
  expect(rate.remaining(100)).toBeNull();
});

test("a steady count gives its speed and the rest of the time", () => {
  const rate = new Rate();
  for (const second of [0, 1, 2, 3]) rate.read(second * 50, second * 1000);
  expect(rate.perSecond).toBeCloseTo(50);
  expect(rate.remaining(250)).toBeCloseTo(2);
});

test("a change of speed is followed, half of it in one half-life", () => {
  const rate = new Rate(3);
  rate.read(0, 0);
  rate.read(100, 1000);
  rate.read(100, 4000);
  expect(rate.perSecond).toBeCloseTo(50);
});
