// The client that shows this page (MCP Apps, 2026-01-26): JSON-RPC over messages between the page and the window around
// it. The page says who it is, learns what the client can do, hears what the tool was called with and what it answered,
// and calls tools through the client. The protocol is small enough to be spoken here; its SDK would be five times the
// page, and tests this from the other side.

import { CallError, type ToolResult } from "./call";

const REVISION = "2026-01-26";

/** How long the client may take for an answer, in milliseconds; longer than any wait that is asked for. */
const LIMIT_MS = 60_000;

/** How the client looks and how it shows the page; only what is used here. */
export interface HostContext {
  theme?: "light" | "dark";
  styles?: { variables?: Record<string, string | undefined> };
  locale?: string;
  timeZone?: string;
  displayMode?: string;
  availableDisplayModes?: string[];
}

/** What the client can do for the page; only what is used here. */
export interface HostCapabilities {
  serverTools?: object;
  updateModelContext?: object;
}

/** What the page hears. */
export interface Hears {
  /** The arguments of the tool whose answer the page shows. */
  input: (args: Record<string, unknown>) => void;
  /** The answer of that tool. */
  result: (result: ToolResult) => void;
  /** The call was given up. */
  cancelled: (reason: string) => void;
  /** The client looks or shows the page differently; only what changed. */
  context: (changed: HostContext) => void;
  /** The page is about to be taken away. */
  end: () => void;
}

interface Message {
  jsonrpc: "2.0";
  id?: number | string;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
  error?: { code: number; message: string };
}

const open = new Map<number | string, (answer: Message) => void>();
let lastId = 0;

function send(message: Omit<Message, "jsonrpc">): void {
  // The window around the page may have any origin; whom it shows this page to is its own business.
  window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
}

function request(method: string, params: Record<string, unknown>): Promise<unknown> {
  lastId += 1;
  const id = lastId;
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      open.delete(id);
      reject(new CallError("The client does not answer.", "unreachable"));
    }, LIMIT_MS);
    open.set(id, ({ result, error }) => {
      clearTimeout(late);
      open.delete(id);
      if (error) reject(new CallError(error.message, "refused"));
      else resolve(result);
    });
    send({ id, method, params });
  });
}

/** Begins to listen, introduces the page and returns what the client told of itself. */
export async function meetHost(
  hears: Hears,
): Promise<{ hostCapabilities: HostCapabilities; hostContext: HostContext }> {
  addEventListener("message", (event: MessageEvent<Message | undefined>) => {
    const message = event.data;
    if (event.source !== window.parent || message?.jsonrpc !== "2.0") return;
    if (message.method === undefined) {
      if (message.id !== undefined) open.get(message.id)?.(message);
    } else if (message.id === undefined) {
      hear(message.method, message.params ?? {}, hears);
    } else {
      send({ id: message.id, ...answerTo(message.method, hears) });
    }
  });
  const met = (await request("ui/initialize", {
    appInfo: { name: "caelum-execution-view", version: "0.1.0" },
    appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    protocolVersion: REVISION,
  })) as { hostCapabilities?: HostCapabilities; hostContext?: HostContext };
  send({ method: "ui/notifications/initialized", params: {} });
  return { hostCapabilities: met.hostCapabilities ?? {}, hostContext: met.hostContext ?? {} };
}

function hear(method: string, params: Record<string, unknown>, hears: Hears): void {
  if (method === "ui/notifications/tool-input") {
    hears.input((params.arguments ?? {}) as Record<string, unknown>);
  } else if (method === "ui/notifications/tool-result") {
    hears.result(params as ToolResult);
  } else if (method === "ui/notifications/tool-cancelled") {
    hears.cancelled(typeof params.reason === "string" ? params.reason : "");
  } else if (method === "ui/notifications/host-context-changed") {
    hears.context(params as HostContext);
  }
}

function answerTo(method: string, hears: Hears): Pick<Message, "result" | "error"> {
  if (method === "ui/resource-teardown") {
    hears.end();
    return { result: {} };
  }
  if (method === "ping") return { result: {} };
  return { error: { code: -32601, message: `this view does not answer ${method}` } };
}

/** Calls a tool through the client. */
export async function throughHost(tool: string, args: object): Promise<ToolResult> {
  return (await request("tools/call", { name: tool, arguments: args })) as ToolResult;
}

/** Asks the client to show the page in another way; returns how it shows it then. */
export async function showAs(mode: "inline" | "fullscreen"): Promise<string> {
  const shown = (await request("ui/request-display-mode", { mode })) as { mode?: string };
  return shown.mode ?? mode;
}

/** Tells the model, for its next turn, what the person sees; the last word counts. */
export async function tellModel(text: string): Promise<void> {
  try {
    await request("ui/update-model-context", { content: [{ type: "text", text }] });
  } catch {
    // A model that is not told can still ask.
  }
}

/** Tells the client how large the page is, now and whenever that changes. */
export function tellSize(): void {
  let told = "";
  const tell = (): void => {
    const { scrollWidth, offsetHeight } = document.documentElement;
    const size = { width: scrollWidth, height: Math.ceil(offsetHeight) };
    if (told === JSON.stringify(size)) return;
    told = JSON.stringify(size);
    send({ method: "ui/notifications/size-changed", params: size });
  };
  new ResizeObserver(tell).observe(document.documentElement);
  tell();
}
