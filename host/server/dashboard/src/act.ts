// Doing something: a call whose answer shows by itself in what is loaded again.

import { CallError, call } from "./mcp";

/** Calls a tool; returns what went wrong in words, or nothing. */
export async function act(tool: string, args: object): Promise<string | undefined> {
  try {
    await call(tool, args);
    return undefined;
  } catch (error) {
    if (error instanceof CallError) return error.message;
    throw error;
  }
}

const NAME = "caelum-name";

/** The name under which the reader reports and reviews, as they last gave it. */
export function lastName(): string {
  return localStorage.getItem(NAME) ?? "";
}

/** Keeps that name. */
export function keepName(name: string): void {
  localStorage.setItem(NAME, name);
}
