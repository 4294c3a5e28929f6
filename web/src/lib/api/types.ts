// Short names for the shapes that the server declares; schema.d.ts is generated from its OpenAPI.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type User = Schemas["UserBody"];
export type Media = Schemas["MediaBody"];
export type Job = Schemas["JobBody"];
export type JobState = Job["state"];
export type JobPage = Schemas["Page_JobBody_"];
export type JobSpec = Schemas["SpecBody"];
export type Options = Schemas["OptionsBody"];
export type EngineOption = Schemas["EngineBody"];
export type ModelOption = Schemas["ModelBody"];
export type ApiKey = Schemas["KeyBody"];
export type NewSecret = Schemas["NewKeyBody"];
export type Runner = Schemas["RunnerBody"];
export type Transcript = Schemas["TranscriptBody"];
export type Speaker = Schemas["SpeakerBody"];
export type Segment = Schemas["SegmentBody"];
export type Delivery = Schemas["DeliveryBody"];
export type Webhook = Schemas["WebhookBody"];
export type JobEvent = NonNullable<Schemas["NewWebhook"]["events"]>[number];
export type NewWebhook = Schemas["WebhookSecretBody"];
