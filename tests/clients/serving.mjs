// The server under test, and the connections that the SDKs for TypeScript do not bring along: lines of JSON over TCP,
// and WebSocket for the SDK that has no such transport any more.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Returns the environment of a server with a data directory of its own: servers that share one wait for each other. */
export function settings(home) {
  const given = Object.entries(process.env).filter(([name]) => name.startsWith("CAELUM_WORKFLOW_"));
  const data = mkdtempSync(join(home, "data-"));
  return { ...Object.fromEntries(given), HOME: home, CAELUM_WORKFLOW_DATA_DIR: data };
}

/** Takes a data directory away. */
export function forget(environment) {
  rmSync(environment.CAELUM_WORKFLOW_DATA_DIR, { recursive: true });
}

/** Runs the server on any free port while `use` works with its `host:port`. */
export async function serving(program, home, use) {
  const env = settings(home);
  const server = spawn(program, ["serve", "--port", "0"], {
    cwd: join(home, "root"),
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise((resolve) => server.once("exit", (code, signal) => resolve(code ?? signal)));
  const log = [];
  const address = await new Promise((resolve, reject) => {
    const lines = createInterface({ input: server.stderr });
    lines.on("line", (line) => {
      log.push(line);
      const found = line.includes("listening") && line.match(/127\.0\.0\.1:\d+/);
      if (found) resolve(found[0]);
    });
    lines.on("close", () => reject(new Error(`the server does not say where it listens:\n${log.join("\n")}`)));
  });
  try {
    await use(address);
  } catch (error) {
    console.error(log.join("\n"));
    throw error;
  } finally {
    server.kill("SIGTERM");
    const code = await ended;
    forget(env);
    if (code !== 0) throw new Error(`the server ended with ${code}:\n${log.join("\n")}`);
  }
}

/** One JSON document a line over a TCP connection. */
export class TcpTransport {
  constructor(address) {
    const [host, port] = address.split(":");
    this.place = { host, port: Number(port) };
  }

  start() {
    return new Promise((resolve, reject) => {
      this.socket = connect(this.place, resolve);
      this.socket.once("error", reject);
      this.socket.once("close", () => this.onclose?.());
      createInterface({ input: this.socket }).on("line", (line) => this.onmessage?.(JSON.parse(line)));
    });
  }

  send(message) {
    return new Promise((resolve, reject) => {
      this.socket.write(`${JSON.stringify(message)}\n`, (error) => (error ? reject(error) : resolve()));
    });
  }

  async close() {
    this.socket.end();
  }
}

/** One JSON document a text frame, subprotocol `mcp`. */
export class WebSocketTransport {
  constructor(url) {
    this.url = url;
  }

  start() {
    return new Promise((resolve, reject) => {
      this.socket = new WebSocket(this.url, "mcp");
      this.socket.onopen = () => resolve();
      this.socket.onerror = () => reject(new Error(`${this.url} cannot be reached`));
      this.socket.onclose = () => this.onclose?.();
      this.socket.onmessage = (event) => this.onmessage?.(JSON.parse(event.data));
    });
  }

  async send(message) {
    this.socket.send(JSON.stringify(message));
  }

  async close() {
    this.socket.close();
  }
}
