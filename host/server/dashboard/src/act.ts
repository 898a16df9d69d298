// Doing something: a call whose answer shows by itself in what is loaded again.

import { CallError, call } from "./call";

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
let named = "";

/** The name under which the reader reports and reviews, as they last gave it. */
export function lastName(): string {
  try {
    return named || (localStorage.getItem(NAME) ?? "");
  } catch {
    // A page in a frame of its own may keep nothing.
    return named;
  }
}

/** Keeps that name, here and where the browser allows it for the next time. */
export function keepName(name: string): void {
  named = name;
  try {
    localStorage.setItem(NAME, name);
  } catch {
    // It is kept for as long as the page is open.
  }
}
