// The page of a client that shows views, made of the extension's own SDK. What it is told to do comes from the test; the
// calls of the view go to the client behind it, which the test holds.

import { AppBridge, PostMessageTransport } from "@modelcontextprotocol/ext-apps/app-bridge";

/** What the view asked of its client, in order. */
globalThis.asked = [];

/** Shows a view: the sandbox first, then in it the page, with what the client says of itself. */
globalThis.show = async ({ sandbox, html, capabilities, context }) => {
  const frame = document.createElement("iframe");
  frame.title = "A view of the server";
  frame.setAttribute("sandbox", "allow-scripts allow-same-origin");
  document.getElementById("view").replaceChildren(frame);
  const bridge = new AppBridge(null, { name: "test-host", version: "1" }, capabilities, { hostContext: context });
  globalThis.bridge = bridge;
  bridge.oncalltool = (params) => globalThis.callTool(params);
  bridge.onupdatemodelcontext = async (params) => {
    globalThis.asked.push({ model: params.content?.[0]?.text });
    return {};
  };
  bridge.onrequestdisplaymode = async ({ mode }) => {
    globalThis.asked.push({ mode });
    return { mode };
  };
  bridge.onsizechange = ({ height }) => {
    globalThis.asked.push({ height });
    if (height !== undefined) frame.style.height = `${height}px`;
  };
  const ready = new Promise((resolve) => {
    bridge.onsandboxready = resolve;
  });
  const initialized = new Promise((resolve) => {
    bridge.oninitialized = resolve;
  });
  await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
  frame.src = sandbox;
  await ready;
  await bridge.sendSandboxResourceReady({ html });
  await initialized;
};
