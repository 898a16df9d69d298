// Small parts that several pages show.

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { words } from "./format";
import type { Loaded } from "./load";
import { useToken } from "./http";

/** The shape beside a status, so that colour is never the only sign. */
const SIGNS: Record<string, string> = {
  completed: "✓",
  succeeded: "✓",
  pass: "✓",
  applied: "✓",
  clean: "✓",
  healthy: "✓",
  online: "✓",
  failed: "✗",
  fail: "✗",
  conflict: "✗",
  blocked: "✗",
  unhealthy: "✗",
  offline: "✗",
  executing: "▶",
  running: "▶",
  active: "▶",
  paused: "❚❚",
  pending: "○",
  skipped: "⤼",
  cancelled: "⊘",
  degraded: "!",
  modified: "!",
  missing: "✗",
  outdated: "!",
  planned: "○",
  unchanged: "=",
  reverted: "↶",
  non_convergent: "✗",
  blocking: "✗",
  warning: "!",
  advice: "i",
  inconclusive: "?",
  "needs-review": "?",
};

const TONES: Record<string, string> = {
  completed: "good",
  succeeded: "good",
  pass: "good",
  applied: "good",
  clean: "good",
  healthy: "good",
  online: "good",
  failed: "bad",
  fail: "bad",
  conflict: "bad",
  blocked: "bad",
  unhealthy: "bad",
  offline: "bad",
  missing: "bad",
  non_convergent: "bad",
  blocking: "bad",
  warning: "waits",
  planned: "busy",
  executing: "busy",
  running: "busy",
  active: "busy",
  paused: "waits",
  inconclusive: "waits",
  "needs-review": "waits",
  degraded: "waits",
  modified: "waits",
  outdated: "waits",
};

/** Returns the tone that a status is shown in. */
export function tone(status: string): string {
  return TONES[status] ?? "plain";
}

/** Returns the sign of a status. */
export function sign(status: string): string {
  return SIGNS[status] ?? "•";
}

export function Status({ of }: { of: string }): JSX.Element {
  return (
    <span class={`status ${tone(of)}`}>
      <span aria-hidden="true">{sign(of)}</span> {words(of)}
    </span>
  );
}

export function Progress({ done, total, of = "steps" }: { done: number; total: number; of?: string }): JSX.Element {
  return (
    <span class="progress">
      <progress max={Math.max(total, 1)} value={done} aria-label={`${done} of ${total} ${of}`} />
      <span>
        {done}/{total}
      </span>
    </span>
  );
}

/** Shows what was loaded; until then that it is being loaded, and otherwise why it cannot be. */
export function Show<T>({
  of,
  children,
}: {
  of: Loaded<T>;
  children: (value: T) => ComponentChildren;
}): JSX.Element {
  if (of.error?.kind === "unauthorized") return <AskToken again={of.again} />;
  return (
    <>
      {of.error && (
        <p class="problem" role="alert">
          {of.error.message} <button onClick={of.again}>Try again</button>
        </p>
      )}
      {of.value !== undefined ? children(of.value) : !of.error && <p class="quiet">Loading…</p>}
    </>
  );
}

/** Asks for the token that connections of other users need. */
function AskToken({ again }: { again: () => void }): JSX.Element {
  const [token, set] = useState("");
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        useToken(token.trim());
        again();
      }}
    >
      <h2>A token, please</h2>
      <p>
        This connection does not come from the server's own user. The token lies in the server's data directory, in the
        file <code>token</code>.
      </p>
      <label>
        Token{" "}
        <input
          type="password"
          autocomplete="off"
          required
          value={token}
          onInput={(event) => set(event.currentTarget.value)}
        />
      </label>{" "}
      <button>Go on</button>
    </form>
  );
}

/** One fact of a description list. */
export function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** Long text that can be unfolded. */
export function Text({ title, text, open }: { title: string; text: string; open?: boolean }): JSX.Element {
  return (
    <details class="text" open={open}>
      <summary>{title}</summary>
      <pre tabIndex={0}>{text}</pre>
    </details>
  );
}

/** Says that a list is empty, and what would fill it. */
export function Empty({ children }: { children: ComponentChildren }): JSX.Element {
  return <p class="empty">{children}</p>;
}

/** Returns the time, again each second while `ticking`. */
export function useNow(ticking: boolean): number {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    if (!ticking) return undefined;
    set(Date.now());
    const timer = setInterval(() => set(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [ticking]);
  return now;
}

/** Sets the title of the window while the component is shown. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = `${title} · Caelum workflow`;
  }, [title]);
}

/** A button; one with a question asks it in its own place before anything happens. */
export function Button({
  label,
  sure,
  danger,
  onPress,
}: {
  label: string;
  sure?: string;
  danger?: boolean;
  onPress: () => void | Promise<void>;
}): JSX.Element {
  const [asked, ask] = useState(false);
  const [busy, setBusy] = useState(false);
  const no = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => {
    // The way back is the one that a second press takes, from the moment that it is seen.
    if (asked) no.current?.focus();
  }, [asked]);
  const press = async (): Promise<void> => {
    setBusy(true);
    await onPress();
    setBusy(false);
    ask(false);
  };
  const tint = danger ? "danger" : "";
  if (!asked) {
    return (
      <button type="button" class={tint} disabled={busy} onClick={() => (sure ? ask(true) : void press())}>
        {label}
      </button>
    );
  }
  return (
    <span class="sure" role="group" aria-label={sure}>
      {sure}{" "}
      <button type="button" class={tint} disabled={busy} onClick={() => void press()}>
        {label}
      </button>{" "}
      <button type="button" ref={no} onClick={() => ask(false)}>
        No
      </button>
    </span>
  );
}
