// Loading: a component asks for something, shows what it has, and asks again when news say so.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { CallError, call } from "./call";

export interface Loaded<T> {
  value?: T;
  error?: CallError;
  /** When the value was asked for, on the clock of `performance`: news since then may say more than it does. */
  asked: number;
  /** Asks again; several wishes while one is under way become one. */
  again: () => void;
}

/** The least time between two calls for the same thing, however much news there is, unless it says otherwise; in
 * milliseconds. */
const PACE_MS = 250;

/** Calls a tool, at most once in `pace` milliseconds, when the component is shown, when its arguments change, and when it is asked to. */
export function useTool<T>(tool: string, args: object, pace = PACE_MS): Loaded<T> {
  const wanted = JSON.stringify(args);
  const [state, set] = useState<{ wanted: string; asked?: number; value?: T; error?: CallError }>({ wanted });
  const current = useRef({ wanted, running: false, again: false });

  const run = useCallback(async () => {
    const now = current.current;
    if (now.running) {
      now.again = true;
      return;
    }
    now.running = true;
    do {
      now.again = false;
      const asked = now.wanted;
      const began = performance.now();
      try {
        const value = await call<T>(tool, JSON.parse(asked) as object);
        if (asked === now.wanted) set({ wanted: asked, asked: began, value });
      } catch (error) {
        if (asked === now.wanted && error instanceof CallError) {
          set((before) => ({ ...before, wanted: asked, error }));
        }
      }
      if (asked !== now.wanted) now.again = true;
      else if (now.again) await new Promise((wake) => setTimeout(wake, pace));
    } while (now.again);
    now.running = false;
  }, [tool, pace]);

  useEffect(() => {
    current.current.wanted = wanted;
    void run();
  }, [wanted, run]);

  useEffect(() => {
    // What the stream does not tell of may have changed while nobody looked.
    const seen = (): void => {
      if (!document.hidden) void run();
    };
    document.addEventListener("visibilitychange", seen);
    return () => document.removeEventListener("visibilitychange", seen);
  }, [run]);

  // What was loaded for other arguments is not shown for these.
  const shown = state.wanted === wanted ? state : { wanted };
  return { value: shown.value, error: shown.error, asked: shown.asked ?? 0, again: run };
}
