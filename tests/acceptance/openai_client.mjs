// What OpenAI's own JavaScript package makes of the server: one JSON document on standard output.
// Usage: node openai_client.mjs PACKAGE BASE_URL KEY RECORDING
import { createReadStream } from "node:fs";
import { pathToFileURL } from "node:url";

const [, , home, baseURL, apiKey, recording] = process.argv;
const { default: OpenAI } = await import(pathToFileURL(`${home}/index.mjs`));
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const ask = (more) =>
  client.audio.transcriptions.create({ file: createReadStream(recording), model: "tiny.en", ...more });

const models = [];
for await (const model of client.models.list()) models.push(model.id);
const json = await ask({});
const text = await ask({ response_format: "text" });
const verbose = await ask({
  response_format: "verbose_json",
  timestamp_granularities: ["word", "segment"],
});
const events = [];
for await (const event of await ask({ stream: true })) events.push(event);
let refusal = null;
try {
  await ask({ model: "nonsense" });
} catch (error) {
  refusal = { name: error.constructor.name, status: error.status, code: error.code };
}
console.log(JSON.stringify({ models, json, text, verbose, events, refusal }));
