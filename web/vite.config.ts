import { createRequire } from "node:module";
import { cpSync, mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import tailwindcss from "@tailwindcss/vite";
import { defineConfig } from "vitest/config";
import type { Plugin } from "vite";

// Where a wheel and an editable install both look for the page.
const OUTPUT = resolve(import.meta.dirname, "../src/rhapsode/api/static");

// The server whose API `npm run dev` shows.
const SERVER = process.env.RHAPSODE_SERVER ?? "http://127.0.0.1:8080";

/** Puts Swagger UI beside our own page, so that /docs needs no third party either. */
function swaggerUi(): Plugin {
  const source = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
  let output = OUTPUT;
  return {
    name: "swagger-ui",
    apply: "build",
    configResolved(config) {
      output = resolve(config.root, config.build.outDir);
    },
    closeBundle() {
      const target = resolve(output, "docs");
      mkdirSync(target, { recursive: true });
      for (const file of ["swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"])
        cpSync(resolve(source, file), resolve(target, file));
    },
  };
}

export default defineConfig({
  plugins: [svelte(), tailwindcss(), swaggerUi()],
  build: {
    outDir: OUTPUT,
    emptyOutDir: true,
    // A data: address would need an exception in the Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  server: {
    proxy: Object.fromEntries(["/api", "/openapi.json", "/docs"].map((path) => [path, SERVER])),
  },
  test: {
    include: ["src/**/*.test.ts"],
    environment: "node",
    setupFiles: ["src/test-setup.ts"],
  },
});
