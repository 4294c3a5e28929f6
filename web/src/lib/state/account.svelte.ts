import { api, ask, whenSignedOut } from "../api/client";
import { jobEvents } from "../api/events";
import { Problem } from "../api/problem";
import type { Options, User } from "../api/types";

/** Who is signed in, and what this server offers them. */
class Account {
  /** undefined until the server has told; null when nobody is signed in. */
  user = $state<User | null | undefined>(undefined);
  options = $state<Options | null>(null);

  constructor() {
    whenSignedOut(() => this.#leave());
  }

  get isAdmin(): boolean {
    return this.user?.role === "admin";
  }

  /** Asks who is signed in; throws a Problem other than "nobody". */
  async resume(): Promise<void> {
    try {
      await this.#enter(await ask(api.GET("/api/me")));
    } catch (error) {
      if (!(error instanceof Problem && error.status === 401)) throw error;
      this.#leave();
    }
  }

  /** Throws a Problem where address and password do not belong together. */
  async signIn(email: string, password: string): Promise<void> {
    await this.#enter(await ask(api.POST("/api/login", { body: { email, password } })));
  }

  async signOut(): Promise<void> {
    await ask(api.POST("/api/logout"));
    this.#leave();
  }

  /** How many runners are there changes; the rest of the options does not. */
  async refreshOptions(): Promise<void> {
    this.options = await ask(api.GET("/api/options"));
  }

  async #enter(user: User): Promise<void> {
    await this.refreshOptions();
    jobEvents.open();
    this.user = user;
  }

  #leave(): void {
    jobEvents.close();
    this.user = null;
    this.options = null;
  }
}

export const account = new Account();
