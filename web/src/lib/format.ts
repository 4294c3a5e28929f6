/** English as the reader's browser writes it: 24 hours or 12, day first or month first. */
export const LOCALE = readersEnglish(globalThis.navigator?.language);

function readersEnglish(language: string | undefined): string {
  return language?.startsWith("en") ? language : "en-GB";
}

/** Seconds as a player shows them: `4:05`, `1:02:03`. */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const pad = (value: number) => String(value).padStart(2, "0");
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** Seconds as one says them: `8 s`, `4 min`, `1 h 12 min`. */
export function span(seconds: number): string {
  if (seconds < 1) return "under 1 s";
  if (seconds < 100) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return rest > 0 ? `${Math.floor(minutes / 60)} h ${rest} min` : `${minutes / 60} h`;
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** Bytes in steps of a thousand: `12.3 MB`. */
export function bytes(count: number): string {
  const step = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(count || 1) / 3)));
  const value = count / 1000 ** step;
  const digits = step === 0 || value >= 100 ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[step]}`;
}

const GIB = 2 ** 30;

/** A limit as its setting has it: powers of two where it is one, since `68.7 GB` looks odd. */
export function limit(count: number): string {
  return count % GIB === 0 ? `${count / GIB} GiB` : bytes(count);
}

/** A share (0 to 1) as whole per cent; 100 is kept for what is done. */
export function percent(fraction: number): number {
  const bounded = Math.min(1, Math.max(0, fraction));
  return bounded < 1 ? Math.min(99, Math.floor(bounded * 100)) : 100;
}

const DAY = 86_400;
const relative = new Intl.RelativeTimeFormat(LOCALE, { numeric: "auto", style: "short" });
const sameYear = new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" });
const otherYear = new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium" });
const exact = new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "medium" });

/** How long ago, for the last week; the date before that. */
export function ago(iso: string, now: Date): string {
  const date = new Date(iso);
  const seconds = (now.getTime() - date.getTime()) / 1000;
  if (seconds < 45) return "just now";
  if (seconds < 3600) return relative.format(-Math.max(1, Math.round(seconds / 60)), "minute");
  if (seconds < DAY) return relative.format(-Math.round(seconds / 3600), "hour");
  if (seconds < 7 * DAY) return relative.format(-Math.round(seconds / DAY), "day");
  return (date.getFullYear() === now.getFullYear() ? sameYear : otherYear).format(date);
}

/** Date and time to the second. */
export function exactly(iso: string): string {
  return exact.format(new Date(iso));
}
