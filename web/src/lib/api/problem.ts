/** A refusal, as a person should read it. `code` is for programs, `hint` says what to do. */
export class Problem extends Error {
  override name = "Problem";

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string | null = null,
  ) {
    super(message);
  }
}

interface Details {
  detail?: unknown;
  title?: unknown;
  code?: unknown;
  hint?: unknown;
}

/** What an answer other than success says; works for answers of a proxy in between, too. */
export function problemOf(status: number, body: unknown): Problem {
  const details: Details = typeof body === "object" && body !== null ? body : {};
  const code = text(details.code) ?? `http_${status}`;
  const message = text(details.detail) ?? text(details.title) ?? unexplained(status);
  return new Problem(status, code, message, text(details.hint));
}

/** No answer at all: the network, or a server that is not running. */
export function unreachable(): Problem {
  return new Problem(
    0,
    "unreachable",
    "The server does not answer.",
    "Check the network, and that the server is running; then try again.",
  );
}

/** Any thrown thing as a Problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError) return unreachable();
  return new Problem(0, "unexpected", error instanceof Error ? error.message : String(error));
}

function unexplained(status: number): string {
  if (status === 413) return "The file is larger than the server, or a proxy before it, accepts.";
  if (status >= 500) return `The server could not answer (${status}).`;
  return `The server refused this (${status}).`;
}

function text(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
