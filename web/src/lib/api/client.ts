import createClient from "openapi-fetch";
import type { paths } from "./schema";
import { asProblem, problemOf } from "./problem";

/** The typed client. Cookies carry the login, so there is nothing else to set up. */
export const api = createClient<paths>({ baseUrl: globalThis.location.origin });

type Answer<T> = { data?: T; error?: unknown; response: Response };

let onSignedOut: () => void = () => {};

/** Calls `listener` whenever an answer says that nobody is signed in any more. */
export function whenSignedOut(listener: () => void): void {
  onSignedOut = listener;
}

/** The data of an answer; throws a Problem where there is none. */
export async function ask<T>(request: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (error) {
    throw asProblem(error);
  }
  if (answer.response.ok) return answer.data as T;
  throw refused(answer.response.status, answer.error);
}

/** The Problem of a refusal, after telling whoever must know that the login is gone. */
export function refused(status: number, body: unknown) {
  const problem = problemOf(status, body);
  if (problem.status === 401) onSignedOut();
  return problem;
}

/** A fresh key by which the server recognises a repeated request. */
export function idempotencyKey(): string {
  // randomUUID exists on https and localhost only; a server on the local network may have neither.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
