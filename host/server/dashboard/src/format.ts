// Numbers and moments as people read them.

/** A number of things by their name: `1 step`, `3 steps`. */
export function counted(number: number, name: string): string {
  return `${number} ${name}${number === 1 ? "" : "s"}`;
}

/** A span of milliseconds: `4 ms`, `1.2 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`. */
export function span(ms: number | undefined): string {
  if (ms === undefined || !Number.isFinite(ms)) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const whole = (value: number, per: number, unit: string, rest: string): string => {
    const high = Math.floor(value / per);
    const low = Math.floor(value % per);
    return low > 0 ? `${high} ${unit} ${low} ${rest}` : `${high} ${unit}`;
  };
  if (seconds < 3600) return whole(seconds, 60, "min", "s");
  const minutes = seconds / 60;
  if (minutes < 24 * 60) return whole(minutes, 60, "h", "min");
  return whole(minutes / 60, 24, "d", "h");
}

/** Milliseconds between two moments, until now without the second; the reader's clock may be behind the server's. */
export function between(start: string | undefined, end: string | undefined, now: number): number | undefined {
  if (!start) return undefined;
  return Math.max((end ? Date.parse(end) : now) - Date.parse(start), 0);
}

let moments = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Sets the language and the zone that moments are told in, where the browser knows them. */
export function speak(locale: string | undefined, timeZone: string | undefined): void {
  try {
    moments = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium", timeZone });
  } catch {
    // One that it does not know changes nothing.
  }
}

/** A moment in the reader's own time. */
export function moment(text: string | undefined): string {
  return text ? moments.format(new Date(text)) : "–";
}

/** How long ago a moment was. */
export function ago(text: string, now: number): string {
  const ms = now - Date.parse(text);
  return ms < 5000 ? "just now" : `${span(ms)} ago`;
}

/** Bytes in the unit that fits. */
export function bytes(count: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = count > 0 ? Math.min(Math.floor(Math.log2(count) / 10), units.length - 1) : 0;
  const value = count / 1024 ** power;
  return `${value.toFixed(power > 0 && value < 10 ? 1 : 0)} ${units[power]}`;
}

/** `awaiting_review` as people say it. */
export function words(text: string): string {
  return text.replaceAll("_", " ").replaceAll("-", " ");
}
