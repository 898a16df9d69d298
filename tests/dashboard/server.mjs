// The real server in a home of its own, and calls of its tools.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const REVISION = "2026-07-28";
/** How long anything may take before it counts as never, in milliseconds. */
export const LIMIT = 30_000;

/** Starts the server on a port (0: any that is free) and waits until it listens. */
export async function serve(port = 0) {
  const data = join(process.env.HOME, "data");
  const server = spawn(process.env.PROGRAM, ["serve", "--port", String(port), "--data-dir", data], {
    cwd: join(process.env.HOME, "root"),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => server.once("exit", resolve));
  let log = "";
  const address = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`the server does not listen:\n${log}`)), LIMIT);
    ended.then(() => reject(new Error(`the server ended:\n${log}`)));
    server.stderr.on("data", (bytes) => {
      log += bytes;
      const listening = /listening: http:\/\/([0-9.:]+)\/mcp/.exec(log);
      if (listening) {
        clearTimeout(late);
        resolve(listening[1]);
      }
    });
  });
  let lastId = 0;
  return {
    origin: `http://${address}`,
    port: Number(address.split(":")[1]),
    token: () => readFileSync(join(data, "token"), "utf8").trim(),
    async stop(signal = "SIGTERM") {
      server.kill(signal);
      await ended;
    },
    async call(name, args) {
      lastId += 1;
      const response = await fetch(`http://${address}/mcp`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          accept: "application/json, text/event-stream",
          "mcp-protocol-version": REVISION,
          "mcp-method": "tools/call",
          "mcp-name": name,
        },
        body: JSON.stringify({
          jsonrpc: "2.0",
          id: lastId,
          method: "tools/call",
          params: {
            name,
            arguments: args,
            _meta: {
              "io.modelcontextprotocol/protocolVersion": REVISION,
              "io.modelcontextprotocol/clientInfo": { name: "dashboard-test", version: "1" },
              "io.modelcontextprotocol/clientCapabilities": {},
            },
          },
        }),
      });
      const { result, error } = await response.json();
      if (error || result.isError) throw new Error(error?.message ?? result.content[0].text);
      return result.structuredContent;
    },
  };
}
