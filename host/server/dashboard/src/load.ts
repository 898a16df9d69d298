// Loading: a component asks for something, shows what it has, and asks again when news say so.

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { CallError, call } from "./call";

export interface Loaded<T> {
  value?: T;
  error?: CallError;
  /** Asks again; several wishes while one is under way become one. */
  again: () => void;
}

/** The least time between two calls for the same thing, however much news there is, in milliseconds. */
const PACE_MS = 250;

/** Calls a tool when the component is shown, when its arguments change, and when it is asked to. */
export function useTool<T>(tool: string, args: object): Loaded<T> {
  const wanted = JSON.stringify(args);
  const [state, set] = useState<{ wanted: string; value?: T; error?: CallError }>({ wanted });
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
      try {
        const value = await call<T>(tool, JSON.parse(asked) as object);
        if (asked === now.wanted) set({ wanted: asked, value });
      } catch (error) {
        if (asked === now.wanted && error instanceof CallError) {
          set((before) => ({ ...before, wanted: asked, error }));
        }
      }
      if (asked !== now.wanted) now.again = true;
      else if (now.again) await new Promise((wake) => setTimeout(wake, PACE_MS));
    } while (now.again);
    now.running = false;
  }, [tool]);

  useEffect(() => {
    current.current.wanted = wanted;
    void run();
  }, [wanted, run]);

  // What was loaded for other arguments is not shown for these.
  const shown = state.wanted === wanted ? state : { wanted };
  return { value: shown.value, error: shown.error, again: run };
}
