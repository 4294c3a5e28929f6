import type { ThemeConfig } from "flowbite-svelte";

const FIELD =
  "border-gray-300 bg-white py-2 text-gray-900 shadow-xs placeholder:text-gray-500 " +
  "dark:border-gray-700 dark:bg-gray-950 dark:text-gray-100 dark:placeholder:text-gray-400 ";

/** Flowbite's components, in our greys and with calmer edges. */
export const theme: ThemeConfig = {
  button: {
    base: "rounded-lg transition-colors focus-within:ring-0 focus-visible:outline-2 gap-1.5 py-2",
  },
  input: { input: FIELD },
  select: { select: FIELD + "pe-8" },
  modal: {
    base:
      "rounded-xl divide-y-0 border border-gray-200 shadow-xl dark:border-gray-800 " +
      "dark:bg-gray-900 text-gray-700 dark:text-gray-300 backdrop:bg-gray-950/50",
    header: "pb-0 text-lg md:pb-0",
    footer: "pt-0 md:pt-0 justify-end",
  },
};
