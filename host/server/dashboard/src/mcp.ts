// The dashboard is an MCP client like any other: it calls the server's own tools over streamable HTTP, without a session
// (revision 2026-07-28 of the protocol), and is trusted or asked for a token by the same rules.

const REVISION = "2026-07-28";
const TOKEN = "caelum-token";

/** A call that did not succeed: the tool's own words, or what went wrong on the way. */
export class CallError extends Error {
  constructor(
    message: string,
    readonly kind: "refused" | "unauthorized" | "unreachable",
  ) {
    super(message);
  }
}

/** Keeps a token for as long as the page is open. */
export function useToken(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

/** Returns the headers that say who calls. */
export function credentials(): Record<string, string> {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { authorization: `Bearer ${token}` } : {};
}

let lastId = 0;

/** Calls a tool and returns its structured content. */
export async function call<T>(
  tool: string,
  args: object = {},
  signal?: AbortSignal,
): Promise<T> {
  lastId += 1;
  let response: Response;
  try {
    response = await fetch("mcp", {
      method: "POST",
      signal,
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": REVISION,
        "mcp-method": "tools/call",
        "mcp-name": tool,
        ...credentials(),
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: lastId,
        method: "tools/call",
        params: {
          name: tool,
          arguments: args,
          _meta: {
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": { name: "caelum-dashboard", version: "0.1.0" },
            "io.modelcontextprotocol/clientCapabilities": {},
          },
        },
      }),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new CallError("The server does not answer.", "unreachable");
  }
  if (response.status === 401) {
    throw new CallError("This server wants a token.", "unauthorized");
  }
  const answer = await answerOf(response);
  if (answer.error) throw new CallError(answer.error.message, "refused");
  const result = answer.result;
  if (!result) throw new CallError(`The server answered with status ${response.status}.`, "unreachable");
  if (result.isError) {
    throw new CallError(result.content?.[0]?.text ?? "The call failed.", "refused");
  }
  return result.structuredContent as T;
}

interface Answer {
  error?: { message: string };
  result?: {
    isError?: boolean;
    content?: { text?: string }[];
    structuredContent?: unknown;
  };
}

/** Reads an answer, which comes alone or as the last event of a stream. */
async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  try {
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
      const data = text.split("\n").filter((line) => line.startsWith("data:"));
      return JSON.parse((data.at(-1) ?? "").slice("data:".length)) as Answer;
    }
    const body = JSON.parse(text) as Answer & { message?: string };
    return body.result || body.error ? body : { error: { message: body.message ?? text } };
  } catch {
    return { error: { message: `The server answered with status ${response.status}.` } };
  }
}
