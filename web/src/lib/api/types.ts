// Short names for the shapes that the server declares; schema.d.ts is generated from its OpenAPI.
import type { components } from "./schema";

type Schemas = components["schemas"];

export type User = Schemas["User"];
export type Media = Schemas["Media"];
export type Job = Schemas["Job"];
export type JobState = Job["state"];
export type JobPage = Schemas["JobPage"];
export type JobSpec = Schemas["Spec"];
export type Options = Schemas["Options"];
export type EngineOption = Schemas["OE"];
export type ModelOption = Schemas["OM"];
export type ApiKey = Schemas["Key"];
export type NewSecret = Schemas["NewKey"];
export type Runner = Schemas["Runner"];

export interface Segment {
  start: number;
  end: number;
  text: string;
  speaker: string | null;
}
export interface Transcript {
  language: string | null;
  duration: number;
  segments: Segment[];
}
