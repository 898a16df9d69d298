// A server made with the second TypeScript SDK (`@modelcontextprotocol/server`) that has one tool, `list_machines`, which
// answers out of memory. Run as `node mcp_typescript_new.mjs PACKAGES stdio` or `… PACKAGES http PORT`.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, how, port] = process.argv.slice(2);
const installed = createRequire(join(packages, "x.js"));
const { McpServer, createMcpHandler } = installed("@modelcontextprotocol/server");
const { serveStdio } = installed("@modelcontextprotocol/server/stdio");
const { toNodeHandler } = installed("@modelcontextprotocol/node");
const { z } = installed("zod");

const { text, structured } = JSON.parse(readFileSync(new URL("machines.json", import.meta.url), "utf8"));

function server() {
  const made = new McpServer({ name: "bench", version: "1" });
  made.registerTool(
    "list_machines",
    {
      description: "Lists the machines.",
      inputSchema: z.object({}),
      outputSchema: z.object({ machines: z.array(z.any()) }),
    },
    () => ({ content: [{ type: "text", text }], structuredContent: structured }),
  );
  return made;
}

if (how === "stdio") {
  serveStdio(server);
} else {
  const handler = toNodeHandler(createMcpHandler(server));
  createServer((request, response) => handler(request, response)).listen(Number(port), "127.0.0.1");
}
