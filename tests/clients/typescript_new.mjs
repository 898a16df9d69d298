// The TypeScript SDK of the newest protocol, in both eras, over standard input, streamable HTTP, WebSocket and raw TCP.

import { createRequire } from "node:module";
import { join } from "node:path";

import { Adapter } from "./adapter.mjs";
import { PATIENCE_MS, run } from "./scenarios.mjs";
import { forget, serving, settings, TcpTransport, WebSocketTransport } from "./serving.mjs";

const NAME = "TypeScript SDK 2.4.0 (`client`)";

const [program, home, packages] = process.argv.slice(2);
const installed = createRequire(join(packages, "x.js"));
const { Client, StreamableHTTPClientTransport } = installed("@modelcontextprotocol/client");
const { StdioClientTransport } = installed("@modelcontextprotocol/client/stdio");

class New extends Adapter {
  constructor(era) {
    super(era);
    this.client = new Client(
      { name: "clients", version: "1" },
      {
        capabilities: { elicitation: { form: {} } },
        versionNegotiation: { mode: era === "modern" ? "auto" : "legacy", probe: { timeoutMs: PATIENCE_MS } },
      },
    );
    this.client.setRequestHandler("elicitation/create", ({ params }) => ({
      action: "accept",
      content: this.person(params),
    }));
    this.client.setNotificationHandler("notifications/resources/updated", ({ params }) => this.updated(params.uri));
  }

  version() {
    return this.client.getNegotiatedProtocolVersion();
  }

  callTool(request, options) {
    return this.client.callTool(request, options);
  }

  async watch(uri) {
    if (this.era === "legacy") return super.watch(uri);
    const subscription = await this.client.listen({ resourceSubscriptions: [uri] });
    return () => subscription.close();
  }
}

async function tried(transport, name, era) {
  const adapter = new New(era);
  await adapter.client.connect(transport);
  await run(adapter, NAME, name);
  await adapter.client.close();
}

for (const era of ["legacy", "modern"]) {
  const env = settings(home);
  await tried(
    new StdioClientTransport({ command: program, args: ["serve", "--stdio"], cwd: join(home, "root"), env }),
    "stdio",
    era,
  );
  forget(env);
  await serving(program, home, async (address) => {
    await tried(new StreamableHTTPClientTransport(new URL(`http://${address}/mcp`)), "http", era);
    await tried(new WebSocketTransport(`ws://${address}/ws`), "websocket", era);
    await tried(new TcpTransport(address), "tcp", era);
  });
}
