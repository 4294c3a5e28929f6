import { expect, test } from "vitest";
import type { ModelOption } from "./api/types";
import { DETECT, languageChoices, languageName } from "./languages";

const model = (name: string, languages: string[]): ModelOption => ({
  name,
  languages,
  description: null,
  size_bytes: null,
});

test("a code that the browser does not know is shown as it is", () => {
  expect(languageName("de")).toBe("German");
  expect(languageName("not a code")).toBe("not a code");
});

test("detection comes first, then the languages by name", () => {
  expect(languageChoices(model("base", ["en", "de", "sv"]))).toEqual([
    { value: DETECT, name: "Detect" },
    { value: "en", name: "English" },
    { value: "de", name: "German" },
    { value: "sv", name: "Swedish" },
  ]);
});

test("a model of one language offers that and nothing else", () => {
  expect(languageChoices(model("tiny.en", ["en"]))).toEqual([{ value: "en", name: "English" }]);
});

test("a model that lists none offers what the engine's other models speak", () => {
  const unknown = model("mine", []);
  const engine = { name: "e", models: [unknown, model("base", ["fr"])] };
  expect(languageChoices(unknown, engine)).toEqual([{ value: "fr", name: "French" }]);
  expect(languageChoices(unknown)).toEqual([{ value: DETECT, name: "Detect" }]);
});
