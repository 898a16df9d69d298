// The view of one execution in a client's own window (MCP Apps): shows what the tool answered, follows the execution
// through the client as long as it goes on, and answers what it waits for.

import { render } from "preact";
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ExecutionStarted, ExecutionStatus } from "./answers";
import "./style.css";
import "./app.css";
import { CallError, type ToolResult, call, callBy, wordsOf } from "./call";
import { Whole } from "./execution";
import { speak, words } from "./format";
import { type HostCapabilities, type HostContext, meetHost, showAs, tellModel, tellSize, throughHost } from "./host";
import { DryRun } from "./plan";
import { keepAddress, useRoute } from "./route";

/** How long one call waits for news, in seconds: clients give up after 60. */
const WAIT_S = 20;

/** How long to leave the client alone after a call that failed, in milliseconds. */
const AGAIN_MS = 5_000;

/** What the client told, as it stands now. */
interface Told {
  execution?: string;
  status?: ExecutionStatus;
  dryRun?: ExecutionStarted;
  problem?: string;
}

let told: Told = {};
let context: HostContext = {};
let capabilities: HostCapabilities = {};
let ended = false;
let changed: () => void = () => undefined;

function tell(next: Told): void {
  told = next;
  changed();
}

/** Takes the answer of the tool that this view belongs to. */
function take(result: ToolResult): void {
  const text = wordsOf(result);
  if (result.isError) {
    tell({ problem: text || "The call failed." });
    return;
  }
  const answer = (result.structuredContent ?? parsed(text)) as Partial<ExecutionStatus & ExecutionStarted> | undefined;
  if (answer?.steps && answer.execution_id) {
    tell({ execution: answer.execution_id, status: answer as ExecutionStatus });
  } else if (answer?.execution_id ?? told.execution) {
    tell({ execution: answer?.execution_id ?? told.execution });
  } else if (answer?.plan || answer?.problems) {
    tell({ dryRun: answer as ExecutionStarted });
  } else {
    tell({ problem: text || "The tool answered nothing that can be shown here." });
  }
}

/** Reads an answer that came as text alone. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function adopt(next: HostContext): void {
  context = { ...context, ...next };
  const root = document.documentElement;
  if (next.theme) root.style.colorScheme = next.theme;
  for (const [name, value] of Object.entries(next.styles?.variables ?? {})) {
    if (name.startsWith("--") && value) root.style.setProperty(name, value);
  }
  if (next.locale || next.timeZone) speak(next.locale, next.timeZone);
  changed();
}

/** Follows an execution until it ends; nothing is asked while nobody sees the page. */
function useExecution(id: string | undefined, first: ExecutionStatus | undefined): [ExecutionStatus?, string?, (() => void)?] {
  const [status, setStatus] = useState(first);
  const [problem, setProblem] = useState<string>();
  const [round, again] = useState(0);
  useEffect(() => {
    if (!id || !capabilities.serverTools) return undefined;
    let over = false;
    let wake: () => void = () => undefined;
    const visible = (): void => {
      if (!document.hidden) wake();
    };
    document.addEventListener("visibilitychange", visible);
    const pause = (ms?: number): Promise<void> =>
      new Promise((resolve) => {
        wake = resolve;
        if (ms !== undefined) setTimeout(resolve, ms);
      });
    const follow = async (): Promise<void> => {
      // What was heard last; the first call answers at once, because somebody just acted or nothing is known yet.
      let seen: ExecutionStatus | undefined = round === 0 && first?.execution_id === id ? first : undefined;
      while (!over && !ended && !seen?.ended_at) {
        if (document.hidden) await pause();
        if (over || ended) return;
        try {
          const waiting = seen && { wait_s: WAIT_S, after_event: seen.event_count, ask: false };
          const now: ExecutionStatus = await call("get_workflow_status", { execution_id: id, ...waiting });
          if (over) return;
          seen = now;
          setStatus(now);
          setProblem(undefined);
        } catch (error) {
          if (over) return;
          if (!(error instanceof CallError)) throw error;
          setProblem(error.message);
          await pause(AGAIN_MS);
        }
      }
    };
    void follow();
    return () => {
      over = true;
      wake();
      document.removeEventListener("visibilitychange", visible);
    };
  }, [id, round]);
  const shown = status?.execution_id === id ? status : first?.execution_id === id ? first : undefined;
  return [shown, problem, () => again((before) => before + 1)];
}

/** What the model is told: where the execution stands, and whom it waits for. */
function summary(of: ExecutionStatus): string {
  const waits = (of.waiting_for ?? []).map((each) => `step ${each.step_id} waits for ${each.kind}`);
  const { done, total } = of.progress;
  return [`Execution ${of.execution_id} of ${of.workflow_id}: ${of.status}, ${done} of ${total} steps`, ...waits].join("; ");
}

function View(): JSX.Element {
  const [, refresh] = useState(0);
  const { path, query } = useRoute();
  useEffect(() => {
    changed = () => refresh((before) => before + 1);
    changed();
  }, []);
  const id = path[1] ?? told.execution;
  const [status, problem, again] = useExecution(id, told.status);
  const said = status && summary(status);
  useEffect(() => {
    if (said && capabilities.updateModelContext) void tellModel(said);
  }, [said]);
  const refused = told.problem ?? problem;
  return (
    <main>
      {context.availableDisplayModes?.includes("fullscreen") && context.displayMode !== "fullscreen" && (
        <p class="wide">
          <button type="button" onClick={() => void grow()}>
            Full screen
          </button>
        </p>
      )}
      {refused && (
        <p class="problem" role="alert">
          {refused}
        </p>
      )}
      {told.dryRun && <DryRun of={told.dryRun} />}
      {status && (
        <Whole
          of={status}
          chosen={query.get("step") ?? undefined}
          again={() => again?.()}
          acts={capabilities.serverTools !== undefined}
        />
      )}
      {!status && !refused && !told.dryRun && <p class="quiet">{id ? `Looking at ${words(id)}…` : "Waiting for the answer…"}</p>}
    </main>
  );
}

async function grow(): Promise<void> {
  try {
    adopt({ displayMode: await showAs("fullscreen") });
  } catch {
    // The client said that it could; when it cannot after all, the page stays as it is.
  }
}

async function begin(root: HTMLElement): Promise<void> {
  keepAddress();
  callBy(throughHost);
  const met = await meetHost({
    input: (args) => {
      if (typeof args.execution_id === "string" && !told.execution) tell({ execution: args.execution_id });
    },
    result: take,
    cancelled: (reason) => tell({ ...told, problem: `The call was cancelled${reason && `: ${reason}`}.` }),
    context: adopt,
    end: () => {
      ended = true;
      render(null, root);
    },
  });
  capabilities = met.hostCapabilities;
  adopt(met.hostContext);
  render(<View />, root);
  tellSize();
}

const root = document.getElementById("execution");
if (root) void begin(root);
