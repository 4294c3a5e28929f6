import { createSubscriber } from "svelte/reactivity";

const EVERY = 30_000;

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, EVERY);
  return () => clearInterval(timer);
});

/** The time, read again by whatever shows it every half minute. */
export function now(): Date {
  subscribe();
  return new Date();
}
