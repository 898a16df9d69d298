// The dashboard is an MCP client like any other: it calls the server's own tools over streamable HTTP, without a session
// (revision 2026-07-28 of the protocol), and is trusted or asked for a token by the same rules.

import { CallError, type ToolResult } from "./call";

const REVISION = "2026-07-28";
const TOKEN = "caelum-token";

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

/** Sends one request of the protocol and returns its result. */
async function request<T>(method: string, params: object, name: string | undefined, signal?: AbortSignal): Promise<T> {
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
        "mcp-method": method,
        ...(name && { "mcp-name": name }),
        ...credentials(),
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: lastId,
        method,
        params: {
          ...params,
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
  const answer = await answerOf<T>(response);
  if (answer.error) throw new CallError(answer.error.message, "refused");
  if (!answer.result) throw new CallError(`The server answered with status ${response.status}.`, "unreachable");
  return answer.result;
}

/** Calls a tool. */
export function overHttp(tool: string, args: object, signal?: AbortSignal): Promise<ToolResult> {
  return request<ToolResult>("tools/call", { name: tool, arguments: args }, tool, signal);
}

/** Returns what fits an argument of a prompt that was typed so far, best first; nothing when that cannot be told. */
export async function completions(
  prompt: string,
  argument: string,
  typed: string,
  signal?: AbortSignal,
): Promise<string[]> {
  const params = { ref: { type: "ref/prompt", name: prompt }, argument: { name: argument, value: typed } };
  try {
    const { completion } = await request<{ completion: { values: string[] } }>(
      "completion/complete",
      params,
      undefined,
      signal,
    );
    return completion.values;
  } catch {
    // Completing is a help; typing goes on without.
    return [];
  }
}

interface Answer<T> {
  error?: { message: string };
  result?: T;
}

/** Reads an answer, which comes alone or as the last event of a stream. */
async function answerOf<T>(response: Response): Promise<Answer<T>> {
  const text = await response.text();
  try {
    if (response.headers.get("content-type")?.startsWith("text/event-stream")) {
      const data = text.split("\n").filter((line) => line.startsWith("data:"));
      return JSON.parse((data.at(-1) ?? "").slice("data:".length)) as Answer<T>;
    }
    const body = JSON.parse(text) as Answer<T> & { message?: string };
    return body.result || body.error ? body : { error: { message: body.message ?? text } };
  } catch {
    return { error: { message: `The server answered with status ${response.status}.` } };
  }
}
