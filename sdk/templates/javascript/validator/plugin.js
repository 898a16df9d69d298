// {{title}}: judges whether a step is done.

import { description, parametersOf } from './caelum.js';

// What a workflow can set. The descriptions are what people and models read.
const SCHEMA = {
  type: 'object',
  properties: {
    must_say: {
      description: 'Text that every program must have written to standard output; empty asks for none.',
      type: 'string',
      default: '',
    },
  },
  additionalProperties: false,
};

export const validator = {
  describe() {
    return {
      about: description({
        id: '{{name}}',
        version: '0.1.0',
        title: '{{title}}',
        summary: 'Passes when every program ended with 0 and said what it must.',
        schema: SCHEMA,
      }),
      phases: ['after'],
      evidenceFormats: ['exit-code'],
    };
  },

  judge(evidence, parameters) {
    const mustSay = parametersOf(parameters, SCHEMA).must_say;
    const failed = [];
    const unknown = [];
    if (evidence.outcomes.length === 0) {
      unknown.push({ code: 'no-outcome', message: 'no program has run: there is no outcome to judge' });
    }
    for (const { machine, exitCode, stdout } of evidence.outcomes) {
      const on = `on \`${machine}\`,`;
      // What is absent is `undefined` in one engine and `null` in the other.
      if (exitCode == null) {
        unknown.push({ code: 'no-exit-code', message: `${on} there is no exit code` });
      } else if (exitCode !== 0) {
        failed.push({ code: 'nonzero-exit', message: `${on} the program ended with ${exitCode}` });
      } else if (!stdout.text.includes(mustSay)) {
        const message = `${on} the program did not say \`${mustSay}\``;
        // What was cut off may have held the text: that is no proof either way.
        if (stdout.truncated) unknown.push({ code: 'output-cut-off', message });
        else failed.push({ code: 'not-said', message });
      }
    }
    // Evidence that is missing or cut off is never a pass.
    let [kind, reasons] = ['pass', []];
    if (failed.length > 0) [kind, reasons] = ['fail', [...failed, ...unknown]];
    else if (unknown.length > 0) [kind, reasons] = ['inconclusive', unknown];
    return {
      kind,
      summary: reasons.length > 0 ? reasons[0].message : 'every program ended with 0 and said what it must',
      reasons,
      metrics: JSON.stringify({ programs: evidence.outcomes.length }),
      findings: [],
      extensions: [],
    };
  },
};
