import type { EngineOption, ModelOption } from "./api/types";

const names = new Intl.DisplayNames(["en"], { type: "language" });

/** The English name of a language code; the code itself where it has none. */
export function languageName(code: string): string {
  try {
    return names.of(code) ?? code;
  } catch {
    return code;
  }
}

export interface Choice {
  value: string;
  name: string;
}

/** `DETECT` stands for "find out"; a select cannot hold null. */
export const DETECT = "";

/** What a language field offers for a model: the one that it speaks, or detection and all. */
export function languageChoices(model: ModelOption | undefined, engine?: EngineOption): Choice[] {
  const codes = spoken(model, engine);
  const choices = codes
    .map((value) => ({ value, name: languageName(value) }))
    .sort((a, b) => a.name.localeCompare(b.name, "en"));
  return choices.length === 1 ? choices : [{ value: DETECT, name: "Detect" }, ...choices];
}

/** A model that lists no language makes no promise; then the engine's other models are the guide. */
function spoken(model: ModelOption | undefined, engine?: EngineOption): string[] {
  if (model && model.languages.length > 0) return model.languages;
  return [...new Set(engine?.models.flatMap((other) => other.languages) ?? [])];
}
