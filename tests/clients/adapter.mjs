// Does what the scenarios ask with a client of the SDKs for TypeScript, which have most of their methods in common.

import { PATIENCE_MS } from "./scenarios.mjs";

export class Adapter {
  constructor(era) {
    this.era = era;
    this.person = undefined;
    this.updated = () => {};
  }

  hello() {
    return {
      version: this.version(),
      server: this.client.getServerVersion().name,
      instructions: this.client.getInstructions(),
      capabilities: Object.keys(this.client.getServerCapabilities()),
    };
  }

  async tools() {
    const { tools } = await this.client.listTools();
    return Object.fromEntries(tools.map((tool) => [tool.name, tool.outputSchema]));
  }

  async call(name, args, onprogress, signal) {
    const options = { onprogress, signal, timeout: PATIENCE_MS };
    const result = await this.callTool({ name, arguments: args }, options);
    return {
      isError: Boolean(result.isError),
      structured: result.structuredContent,
      text: result.content[0].text,
    };
  }

  async resources() {
    return (await this.client.listResources()).resources.map((resource) => resource.uri);
  }

  async templates() {
    const { resourceTemplates } = await this.client.listResourceTemplates();
    return resourceTemplates.map((template) => template.uriTemplate);
  }

  async read(uri) {
    return (await this.client.readResource({ uri })).contents[0].text;
  }

  async watch(uri) {
    await this.client.subscribeResource({ uri });
    return () => this.client.unsubscribeResource({ uri });
  }

  async prompts() {
    return (await this.client.listPrompts()).prompts.map((prompt) => prompt.name);
  }

  async prompt(name, args) {
    return (await this.client.getPrompt({ name, arguments: args })).messages[0].content.text;
  }

  async complete(ref, name, value) {
    return (await this.client.complete({ ref, argument: { name, value } })).completion.values;
  }
}
