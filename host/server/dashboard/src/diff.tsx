// A unified diff: a part for each file, lines with their numbers before and after, and signs that do not depend on
// colour.

import type { JSX } from "preact";

/** Whether a text is a unified diff. */
export function isDiff(text: string): boolean {
  return /^(---|diff) /m.test(text) && /^@@ /m.test(text);
}

interface Line {
  kind: "place" | "added" | "removed" | "same" | "note";
  text: string;
  before?: number;
  after?: number;
}

export interface FileDiff {
  path: string;
  /** What becomes of the file, where it is not changed in place. */
  change: string;
  added: number;
  removed: number;
  lines: Line[];
}

/** Takes a name out of a `---` or `+++` line; nothing for a file that is not there. */
function named(line: string): string {
  const path = line.slice(4).split("\t")[0] ?? "";
  return path === "/dev/null" ? "" : path.replace(/^[ab]\//, "");
}

/** Reads a unified diff, file by file. */
export function files(text: string): FileDiff[] {
  const found: FileDiff[] = [];
  let file: FileDiff | undefined;
  let before = 0;
  let after = 0;
  let left = { before: 0, after: 0 };
  const begin = (path: string): FileDiff => {
    const begun = { path, change: "", added: 0, removed: 0, lines: [] };
    found.push(begun);
    return begun;
  };
  for (const line of text.replace(/\n$/, "").split("\n")) {
    // Inside of a hunk the first character says what a line is, whatever it looks like.
    if (file && (left.before > 0 || left.after > 0)) {
      if (line.startsWith("+")) {
        file.lines.push({ kind: "added", text: line, after });
        file.added += 1;
        after += 1;
        left.after -= 1;
      } else if (line.startsWith("-")) {
        file.lines.push({ kind: "removed", text: line, before });
        file.removed += 1;
        before += 1;
        left.before -= 1;
      } else if (line.startsWith("\\")) {
        file.lines.push({ kind: "note", text: line });
      } else {
        file.lines.push({ kind: "same", text: line, before, after });
        before += 1;
        after += 1;
        left = { before: left.before - 1, after: left.after - 1 };
      }
      continue;
    }
    const hunk = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (hunk) {
      file ??= begin("");
      before = Number(hunk[1]);
      after = Number(hunk[3]);
      left = { before: Number(hunk[2] ?? 1), after: Number(hunk[4] ?? 1) };
      file.lines.push({ kind: "place", text: line });
    } else if (line.startsWith("diff --git ")) {
      file = begin(/ b\/(.*)$/.exec(line)?.[1] ?? line.slice(11));
    } else if (line.startsWith("--- ")) {
      if (!file || file.lines.length > 0) file = begin(named(line));
      file.path ||= named(line);
    } else if (line.startsWith("+++ ")) {
      if (file) file.path = named(line) || file.path;
    } else if (line.startsWith("new file")) {
      if (file) file.change = "new";
    } else if (line.startsWith("deleted file")) {
      if (file) file.change = "deleted";
    } else if (line.startsWith("rename from ")) {
      if (file) file.change = `renamed from ${line.slice(12)}`;
    } else if (line.startsWith("\\") || line.startsWith("Binary files")) {
      file?.lines.push({ kind: "note", text: line });
    }
  }
  return found;
}

export function Diff({ of }: { of: string }): JSX.Element {
  return (
    <div class="diffs">
      {files(of).map((file) => (
        <details open key={file.path}>
          <summary>
            <code>{file.path || "changes"}</code> {file.change && <span class="quiet">{file.change}</span>}{" "}
            <span class="added" aria-label={`${file.added} lines added`}>
              +{file.added}
            </span>{" "}
            <span class="removed" aria-label={`${file.removed} lines removed`}>
              −{file.removed}
            </span>
          </summary>
          {file.lines.length > 0 && (
            <pre class="diff" tabIndex={0} aria-label={`Changes of ${file.path} as a unified diff`}>
              {file.lines.map((line) => (
                <span class={line.kind}>
                  <span class="at" aria-hidden="true">
                    {line.before ?? ""}
                  </span>
                  <span class="at" aria-hidden="true">
                    {line.after ?? ""}
                  </span>
                  {line.text}
                  {"\n"}
                </span>
              ))}
            </pre>
          )}
        </details>
      ))}
    </div>
  );
}
