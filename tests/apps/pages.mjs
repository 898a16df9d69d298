// The two origins that a client of the web needs: its own page, and the sandbox in which a view lives, with the policy
// that the specification sets for a view that declares nothing.

import { createServer } from "node:http";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'unsafe-inline'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "media-src 'self' data:",
  "connect-src 'none'",
  "frame-src 'none'",
  "object-src 'none'",
  "base-uri 'self'",
].join("; ");

const HOST = (script) => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>A client</title>
<style>
  body { margin: 0; font: 15px/1.5 system-ui, sans-serif; background: light-dark(#efeeea, #0d0e10); color: light-dark(#1c1d1f, #e8e8e4) }
  main { max-width: 860px; margin: 0 auto; padding: 24px }
  p { margin: 0 0 14px }
  .said { width: fit-content; margin-left: auto; padding: 8px 14px; border-radius: 14px; background: light-dark(#dfe7f5, #22304a) }
  #view { overflow: hidden; border: 1px solid light-dark(#d0cfc8, #33373d); border-radius: 12px; background: light-dark(#fff, #15171a) }
  iframe { display: block; width: 100%; height: 60px; border: 0 }
</style>
<main>
  <h1 hidden>A conversation</h1>
  <p class="said">Release it, please.</p>
  <p>I started the release. Here is how it goes:</p>
  <div id="view"></div>
</main>
<script type="module">${script}</script>
</html>
`;

const SANDBOX = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="color-scheme" content="light dark">
<title>Sandbox</title>
<style>html, body { margin: 0; height: 100% } iframe { display: block; width: 100%; height: 100%; border: 0 }</style>
<script>
  let view;
  addEventListener("message", ({ source, data }) => {
    if (source === parent && data.method === "ui/notifications/sandbox-resource-ready") {
      view = document.createElement("iframe");
      view.title = "View";
      // Narrower than the specification asks for: no origin, no forms, no dialogs.
      view.setAttribute("sandbox", "allow-scripts");
      view.srcdoc = data.params.html;
      document.body.replaceChildren(view);
    } else if (source === parent) {
      view?.contentWindow.postMessage(data, "*");
    } else if (source === view?.contentWindow) {
      parent.postMessage(data, "*");
    }
  });
  parent.postMessage({ jsonrpc: "2.0", method: "ui/notifications/sandbox-proxy-ready", params: {} }, "*");
</script>
</html>
`;

async function listen(body, headers) {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8", ...headers });
    response.end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}

/** Builds the client's page and serves both. */
export async function pages() {
  const require = createRequire(join(process.env.MODULES, "x.js"));
  const { build } = require("esbuild");
  const { outputFiles } = await build({
    entryPoints: [join(dirname(fileURLToPath(import.meta.url)), "host.mjs")],
    nodePaths: [process.env.MODULES],
    bundle: true,
    write: false,
    format: "esm",
    platform: "browser",
    conditions: ["browser"],
    logLevel: "error",
  });
  const host = await listen(HOST(outputFiles[0].text.replaceAll("</script", "<\\/script")), {});
  const sandbox = await listen(SANDBOX, { "content-security-policy": POLICY });
  return {
    host: host.origin,
    sandbox: sandbox.origin,
    close() {
      host.close();
      sandbox.close();
    },
  };
}
