import { expect, test } from "vitest";
import { asProblem, Problem, problemOf } from "./problem";

test("problem details are told in the server's words", () => {
  const body = { detail: "The file is empty.", code: "media_empty", hint: "Choose another." };
  expect(problemOf(422, body)).toEqual(
    new Problem(422, "media_empty", "The file is empty.", "Choose another."),
  );
});

test.each([
  [413, "<html>", "The file is larger than the server, or a proxy before it, accepts."],
  [502, null, "The server could not answer (502)."],
  [418, {}, "The server refused this (418)."],
])("an answer %d that is none of ours still gets a sentence", (status, body, message) => {
  expect(problemOf(status, body)).toEqual(new Problem(status, `http_${status}`, message));
});

test("what fetch throws without a network is told as such", () => {
  expect(asProblem(new TypeError("Failed to fetch")).code).toBe("unreachable");
  expect(asProblem(new Error("odd")).message).toBe("odd");
});
