// A unified diff, a line each, with signs that do not depend on colour.

import type { JSX } from "preact";

function kind(line: string): string {
  if (line.startsWith("+++") || line.startsWith("---")) return "file";
  if (line.startsWith("@@")) return "place";
  if (line.startsWith("+")) return "added";
  if (line.startsWith("-")) return "removed";
  return "same";
}

/** Whether a text is a unified diff. */
export function isDiff(text: string): boolean {
  return /^(---|diff) /m.test(text) && /^@@ /m.test(text);
}

export function Diff({ of }: { of: string }): JSX.Element {
  return (
    <pre class="diff" tabIndex={0} aria-label="Changes as a unified diff">
      {of.split("\n").map((line) => (
        <span class={kind(line)}>
          {line}
          {"\n"}
        </span>
      ))}
    </pre>
  );
}
