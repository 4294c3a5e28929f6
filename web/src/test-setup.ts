// The little of a browser that the logic asks for.
import { vi } from "vitest";

vi.stubGlobal("navigator", { language: "en-GB" });
vi.stubGlobal("location", { origin: "http://rhapsode.test" });
