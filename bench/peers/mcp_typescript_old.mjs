// A server made with the first TypeScript SDK (`@modelcontextprotocol/sdk`) that has one tool, `list_machines`, which
// answers out of memory. Run as `node mcp_typescript_old.mjs PACKAGES stdio` or `… PACKAGES http PORT`.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const [packages, how, port] = process.argv.slice(2);
const sdk = (path) => createRequire(join(packages, "x.js"))(`@modelcontextprotocol/sdk/${path}.js`);
const { McpServer } = sdk("server/mcp");
const { StdioServerTransport } = sdk("server/stdio");
const { StreamableHTTPServerTransport } = sdk("server/streamableHttp");
const { z } = createRequire(join(packages, "x.js"))("zod");

const { text, structured } = JSON.parse(readFileSync(new URL("machines.json", import.meta.url), "utf8"));

function server() {
  const made = new McpServer({ name: "bench", version: "1" });
  made.registerTool(
    "list_machines",
    { description: "Lists the machines.", inputSchema: {}, outputSchema: { machines: z.array(z.any()) } },
    () => ({ content: [{ type: "text", text }], structuredContent: structured }),
  );
  return made;
}

if (how === "stdio") {
  await server().connect(new StdioServerTransport());
} else {
  const sessions = new Map();
  const listener = createServer(async (request, response) => {
    let transport = sessions.get(request.headers["mcp-session-id"]);
    if (!transport) {
      transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: randomUUID,
        enableJsonResponse: true,
        onsessioninitialized: (id) => sessions.set(id, transport),
      });
      await server().connect(transport);
    }
    await transport.handleRequest(request, response);
  });
  listener.listen(Number(port), "127.0.0.1");
}
