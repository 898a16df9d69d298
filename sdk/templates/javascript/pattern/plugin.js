// {{title}}: finds what a component lacks, and proposes the change.

import { Assessment, SourceFile, byBytes, description, edit, glob, parametersOf, sortedEdits } from './caelum.js';

// What can be set. The descriptions are what people and models read.
const SCHEMA = {
  type: 'object',
  properties: {
    files: {
      description: 'Globs of the files to look at.',
      type: 'array',
      items: { type: 'string' },
      default: ['**/*.md'],
    },
  },
  additionalProperties: false,
};

// The one rule of this pattern. Add yours beside it.
const LAST_LINE = {
  id: 'LL01',
  severity: 'warning',
  title: 'the last line of a text file has a line end',
  fixable: true,
};

// How many files are looked at.
const FILES_MAX = 1000;

const NEW_LINE = 10;
const RETURN = 13;

/** Reads the files that the parameters name. */
function filesOf(parameters) {
  const globs = parametersOf(parameters, SCHEMA).files;
  const paths = new Set(globs.flatMap((pattern) => glob(pattern, FILES_MAX)));
  return [...paths].sort(byBytes).map((path) => new SourceFile(path));
}

/** Finds what is wrong. */
function look(files, context) {
  const assessment = new Assessment(context);
  const lacking = files.filter(({ bytes }) => bytes.length > 0 && bytes[bytes.length - 1] !== NEW_LINE);
  const found = lacking.map(({ path, bytes }) => ({
    message: 'the last line has no line end',
    path,
    line: bytes.reduce((count, byte) => count + (byte === NEW_LINE ? 1 : 0), 1),
  }));
  assessment.check(LAST_LINE, found);
  return assessment;
}

export const pattern = {
  describe() {
    return {
      about: description({
        id: '{{name}}',
        version: '0.1.0',
        title: '{{title}}',
        summary: 'Gives the last line of text files its line end.',
        schema: SCHEMA,
      }),
      rules: [LAST_LINE],
      appliesTo: [],
    };
  },

  validate(parameters, context) {
    const files = filesOf(parameters);
    return files.length === 0 ? Assessment.notApplicable() : look(files, context).answer();
  },

  plan(parameters, context) {
    const files = filesOf(parameters);
    const findings = look(files, context).findings.sorted();
    const edits = findings.map((finding) => {
      const file = files.find(({ path }) => path === finding.location.path);
      // Positions count bytes. An edit is bound to the file as it was read: when it has changed, nothing is touched.
      const end = file.bytes.length;
      const first = file.bytes.indexOf(NEW_LINE);
      const lineEnd = first > 0 && file.bytes[first - 1] === RETURN ? '\r\n' : '\n';
      const because = 'tools that join or read lines lose the last one otherwise';
      return edit(file.replace([[end, end, lineEnd]]), { because, resolves: [finding], risk: 'safe' });
    });
    return {
      summary: 'gives last lines their line ends',
      edits: sortedEdits(edits),
      nextSteps: [],
      findings,
      extensions: [],
    };
  },
};
