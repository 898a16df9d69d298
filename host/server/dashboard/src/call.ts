// Calling a tool of the server, whatever the road: the dashboard goes over HTTP, the view in somebody's client through
// that client. What asks and shows does not know which.

/** A call that did not succeed: the tool's own words, or what went wrong on the way. */
export class CallError extends Error {
  constructor(
    message: string,
    readonly kind: "refused" | "unauthorized" | "unreachable",
  ) {
    super(message);
  }
}

/** A tool's answer, as the protocol writes it. */
export interface ToolResult {
  isError?: boolean;
  content?: { type?: string; text?: string }[];
  structuredContent?: unknown;
}

/** Takes a call to the server and brings the answer; a call that could not be made is a `CallError`. */
export type Road = (tool: string, args: object, signal?: AbortSignal) => Promise<ToolResult>;

let road: Road = () => Promise.reject(new CallError("There is no way to the server.", "unreachable"));

/** Sets the road of all calls. */
export function callBy(taken: Road): void {
  road = taken;
}

/** Returns what a tool said in words. */
export function wordsOf(result: ToolResult): string {
  return (result.content ?? []).map((block) => block.text ?? "").join("\n");
}

/** Calls a tool and returns its structured content. */
export async function call<T>(tool: string, args: object = {}, signal?: AbortSignal): Promise<T> {
  const result = await road(tool, args, signal);
  if (result.isError) throw new CallError(wordsOf(result) || "The call failed.", "refused");
  return result.structuredContent as T;
}
