// What deliveries and the events of webhooks are called, and what may be done about each.
import type { Delivery } from "./api/types";
import type { Tone } from "./jobs";

export const DELIVERY_STATES: Record<Delivery["state"], { label: string; tone: Tone }> = {
  held: { label: "Waiting for the others", tone: "neutral" },
  pending: { label: "On its way", tone: "busy" },
  delivered: { label: "Delivered", tone: "good" },
  dead: { label: "Given up", tone: "bad" },
  expired: { label: "URL expired", tone: "bad" },
  canceled: { label: "Canceled", tone: "neutral" },
};

export const EVENTS = [
  { name: "job.finished", label: "A job has finished" },
  { name: "job.failed", label: "A job has failed" },
  { name: "job.expired", label: "A URL of a job stopped working" },
  { name: "job.canceled", label: "A job was canceled" },
] as const;

const KINDS: Record<Delivery["kind"], string> = {
  artifact: "",
  webhook: "Webhook",
  email: "E-mail",
  notification: "Notification",
};

/** What is delivered: an artifact by its ending, anything else by its kind and event. */
export function deliveryName(delivery: Delivery): string {
  const kind = KINDS[delivery.kind];
  return kind ? `${kind}: ${delivery.subject}` : delivery.subject;
}

/** Can the server still send it, if asked to? An expired URL needs a fresh one instead. */
export function canSendAgain(delivery: Delivery): boolean {
  return delivery.state === "dead";
}

/** Is there anything that may change without anybody's doing? */
export function isMoving(deliveries: readonly Delivery[]): boolean {
  return deliveries.some(({ state }) => state === "pending" || state === "held");
}

/** `HTTP 503 after 3 tries, next in a moment`: how the last attempt went. */
export function lastAttempt(delivery: Delivery): string | null {
  if (delivery.attempts === 0) return null;
  const status = delivery.status == null ? null : `HTTP ${delivery.status}`;
  const latency = delivery.latency == null ? null : `${Math.round(delivery.latency * 1000)} ms`;
  const tries = delivery.attempts > 1 ? `${delivery.attempts} tries` : null;
  return [status, latency, tries].filter(Boolean).join(" · ") || null;
}

/** The links in a text, one a line or between spaces; what is no http(s) or s3 URL is named. */
export function readLinks(text: string): { links: string[]; refused: string[] } {
  const words = text.split(/\s+/).filter(Boolean);
  const links = words.filter((word) => /^(https?|s3):\/\/[^/\s]+/i.test(word));
  return { links, refused: words.filter((word) => !links.includes(word)) };
}

/** A link without what may be secret in it: credentials, query and fragment. */
export function shownLink(link: string): string {
  try {
    const url = new URL(link);
    return `${url.protocol}//${url.host}${url.pathname}`;
  } catch {
    return link.split(/[?#]/)[0] ?? "";
  }
}
