// The TypeScript SDK of the protocol before, over standard input, streamable HTTP, WebSocket and raw TCP.

import { createRequire } from "node:module";
import { join } from "node:path";

import { Adapter } from "./adapter.mjs";
import { run } from "./scenarios.mjs";
import { forget, serving, settings, TcpTransport } from "./serving.mjs";

const NAME = "TypeScript SDK 1.32.2 (`sdk`)";

const [program, home, packages] = process.argv.slice(2);
const sdk = (path) => createRequire(join(packages, "x.js"))(`@modelcontextprotocol/sdk/${path}.js`);
const { Client } = sdk("client/index");
const { StdioClientTransport } = sdk("client/stdio");
const { StreamableHTTPClientTransport } = sdk("client/streamableHttp");
const { WebSocketClientTransport } = sdk("client/websocket");
const { ElicitRequestSchema, ResourceUpdatedNotificationSchema } = sdk("types");

class Old extends Adapter {
  constructor(transport) {
    super("legacy");
    this.client = new Client({ name: "clients", version: "1" }, { capabilities: { elicitation: {} } });
    this.client.setRequestHandler(ElicitRequestSchema, ({ params }) => ({
      action: "accept",
      content: this.person(params),
    }));
    this.client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => this.updated(params.uri));
    // Only transports that need to know are told which version was agreed on.
    transport.setProtocolVersion ??= () => {};
    const told = transport.setProtocolVersion;
    transport.setProtocolVersion = (version) => {
      this.agreed = version;
      told.call(transport, version);
    };
    this.transport = transport;
  }

  version() {
    return this.agreed;
  }

  callTool(request, options) {
    return this.client.callTool(request, undefined, options);
  }
}

async function tried(transport, name) {
  const adapter = new Old(transport);
  await adapter.client.connect(transport);
  await run(adapter, NAME, name);
  await adapter.client.close();
}

const env = settings(home);
await tried(
  new StdioClientTransport({ command: program, args: ["serve", "--stdio"], cwd: join(home, "root"), env }),
  "stdio",
);
forget(env);
await serving(program, home, async (address) => {
  await tried(new StreamableHTTPClientTransport(new URL(`http://${address}/mcp`)), "http");
  await tried(new WebSocketClientTransport(new URL(`ws://${address}/ws`)), "websocket");
  await tried(new TcpTransport(address), "tcp");
});
