// What changes, as the server tells it: one stream of server-sent events for the whole page, taken up again where it
// broke off. It is read with fetch and not with EventSource, which cannot send a token.

import { useEffect, useState } from "preact/hooks";
import { credentials } from "./http";

/** An execution that changed. */
export interface Change {
  execution_id: string;
  workflow_id: string;
  status: string;
  done: number;
  total: number;
  started_at: string;
  ended_at?: string;
  event_count: number;
}

/** What listeners hear: an execution changed, plugins did, or anything may have. */
export type News = { kind: "execution"; change: Change } | { kind: "plugins" } | { kind: "resync" };

export type Connection = "connecting" | "live" | "lost";

const RETRY_MS = [500, 1000, 2000, 5000, 10000];

const listeners = new Set<(news: News) => void>();
const watchers = new Set<(connection: Connection) => void>();
let connection: Connection = "connecting";
let lastEvent: string | undefined;
let running = false;

function tell(news: News): void {
  for (const listener of listeners) listener(news);
}

function become(next: Connection): void {
  connection = next;
  for (const watcher of watchers) watcher(next);
}

/** Splits a stream of bytes into events: the fields of each, by name. */
async function* events(body: ReadableStream<BufferSource>): AsyncGenerator<Map<string, string>> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const fields = new Map<string, string>();
      for (const line of rest.slice(0, end).split("\n")) {
        const colon = line.indexOf(":");
        if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trimStart());
      }
      rest = rest.slice(end + 2);
      if (fields.size > 0) yield fields;
    }
  }
}

async function follow(): Promise<void> {
  for (let failures = 0; ; failures += 1) {
    try {
      const headers: Record<string, string> = { accept: "text/event-stream", ...credentials() };
      if (lastEvent) headers["last-event-id"] = lastEvent;
      const response = await fetch("events", { headers });
      if (!response.ok || !response.body) throw new Error(String(response.status));
      if (connection === "lost" && !lastEvent) tell({ kind: "resync" });
      become("live");
      failures = 0;
      for await (const fields of events(response.body)) {
        lastEvent = fields.get("id") ?? lastEvent;
        const data = fields.get("data");
        if (fields.get("event") === "execution" && data) {
          tell({ kind: "execution", change: JSON.parse(data) as Change });
        } else if (fields.get("event") === "plugins" || fields.get("event") === "resync") {
          tell({ kind: fields.get("event") as "plugins" | "resync" });
        }
      }
    } catch {
      // Told below: a stream that ends and one that never began are mended in the same way.
    }
    become("lost");
    const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)];
    await new Promise((wake) => setTimeout(wake, wait));
  }
}

/** Calls `listener` with everything that changes while the component is shown. */
export function useNews(listener: (news: News) => void, inputs: unknown[]): void {
  useEffect(() => {
    listeners.add(listener);
    if (!running) {
      running = true;
      void follow();
    }
    return () => void listeners.delete(listener);
  }, inputs);
}

/** Returns how the stream stands. */
export function useConnection(): Connection {
  const [now, set] = useState(connection);
  useEffect(() => {
    watchers.add(set);
    set(connection);
    return () => void watchers.delete(set);
  }, []);
  return now;
}
