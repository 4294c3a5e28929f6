import { asProblem, type Problem } from "../api/problem";

export interface Notice {
  id: number;
  tone: "good" | "bad";
  text: string;
  hint: string | null;
}

const SHOWN_FOR = 8_000;

/** Short messages at the edge of the page: what was done, or could not be. */
class Notices {
  items = $state<Notice[]>([]);
  #last = 0;

  say(text: string): void {
    this.#add({ id: ++this.#last, tone: "good", text, hint: null });
  }

  /** Shows why something could not be done, until it is dismissed. */
  complain(error: unknown): void {
    const problem: Problem = asProblem(error);
    if (problem.status === 401) return; // The sign-in page says it.
    this.#add({ id: ++this.#last, tone: "bad", text: problem.message, hint: problem.hint });
  }

  dismiss(id: number): void {
    this.items = this.items.filter((notice) => notice.id !== id);
  }

  #add(notice: Notice): void {
    this.items = [...this.items.slice(-2), notice];
    if (notice.tone === "good") setTimeout(() => this.dismiss(notice.id), SHOWN_FOR);
  }
}

export const notices = new Notices();

/** Runs an action of the reader's and shows its Problem, if any. True where all went well. */
export async function attempt(action: () => Promise<unknown>): Promise<boolean> {
  try {
    await action();
    return true;
  } catch (error) {
    notices.complain(error);
    return false;
  }
}
