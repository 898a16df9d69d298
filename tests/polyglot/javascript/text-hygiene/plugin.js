// The pattern `text-hygiene` of the polyglot kit, in JavaScript: tidies text files, byte for byte, and what lies about
// them. Its twins in Rust and Python answer the same, to the letter.

import {
  Assessment,
  SourceFile,
  byBytes,
  create,
  description,
  edit,
  glob,
  isFile,
  isText,
  other,
  parametersOf,
  sortedEdits,
} from './caelum.js';

const SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  description: 'What to tidy.',
  type: 'object',
  properties: {
    files: {
      description: 'Globs of the text files.',
      type: 'array',
      items: { type: 'string' },
      minItems: 1,
      default: ['**/*.md', '**/*.txt'],
    },
    editorconfig: {
      description: 'Whether there should be an `.editorconfig`.',
      type: 'boolean',
      default: true,
    },
  },
  additionalProperties: false,
};

const rule = (id, severity, title, fixable, remediation) => ({ id, severity, title, fixable, remediation });

const LINE_END = rule('TH01', 'warning', 'every text file ends with a line end', true);
const WHITE_SPACE = rule('TH02', 'advice', 'no line ends in white space', true);
const EDITORCONFIG = rule('TH03', 'advice', 'an `.editorconfig` says how files are written', true);
const LEFTOVER = rule('TH04', 'warning', 'no leftovers of merges lie about', true);
const LICENCE = rule('TH05', 'advice', 'the licence file has the name that tools look for', true);
const ENCODING = rule(
  'TH06',
  'warning',
  'text files are UTF-8',
  false,
  'Convert the file to UTF-8, or leave it out of `files`.',
);

/** What a new `.editorconfig` says. */
const SETTINGS =
  'root = true\n\n[*]\ncharset = utf-8\nend_of_line = lf\ninsert_final_newline = true\n' +
  'trim_trailing_whitespace = true\n';

/** How many files one glob may match; more are not tidied by a plan that people can read. */
const FILES_MAX = 1000;

const [TAB, NEW_LINE, RETURN, BLANK] = [9, 10, 13, 32];

/** Finds white space at the ends of lines: the line, from 1, the first byte, and the byte after the last one. */
function spaces(bytes) {
  const found = [];
  let line = 1;
  for (let start = 0; start <= bytes.length; line += 1) {
    const newLine = bytes.indexOf(NEW_LINE, start);
    const end = newLine < 0 ? bytes.length : newLine;
    const content = newLine > start && bytes[end - 1] === RETURN ? end - 1 : end;
    let kept = content;
    while (kept > start && (bytes[kept - 1] === BLANK || bytes[kept - 1] === TAB)) kept -= 1;
    if (kept < content) found.push([line, kept, content]);
    start = end + 1;
  }
  return found;
}

/** Counts lines; after the last line end there is one more. */
function lineCount(bytes) {
  let count = 1;
  for (const byte of bytes) count += byte === NEW_LINE ? 1 : 0;
  return count;
}

/** Looks at one text file. */
function untidy(file) {
  const { bytes } = file;
  const newLine = bytes.indexOf(NEW_LINE);
  return {
    file,
    lacksLineEnd: bytes.length > 0 && bytes[bytes.length - 1] !== NEW_LINE,
    lineEnd: newLine > 0 && bytes[newLine - 1] === RETURN ? '\r\n' : '\n',
    lastLine: lineCount(bytes),
    spaces: spaces(bytes),
  };
}

function matching(globs) {
  const paths = new Set();
  for (const pattern of globs) {
    const found = glob(pattern, FILES_MAX);
    if (found.length === FILES_MAX) {
      throw other(`\`${pattern}\` matches ${FILES_MAX} files or more; name fewer in \`files\``);
    }
    found.forEach((path) => paths.add(path));
  }
  return [...paths].sort(byBytes);
}

/** What lies in the tree, as far as the rules are about it. */
function survey(parameters) {
  const files = matching(parameters.files).map((path) => new SourceFile(path));
  return {
    texts: files.filter((file) => isText(file.bytes)).map(untidy),
    foreign: files.filter((file) => !isText(file.bytes)),
    leftovers: matching(['**/*.orig']).map((path) => new SourceFile(path)),
    licence: isFile('LICENCE') ? new SourceFile('LICENCE') : undefined,
    hasEditorconfig: isFile('.editorconfig'),
    hasLicense: isFile('LICENSE'),
  };
}

/** Says what is wrong with what was found; nothing when there is no text file. */
function judge(seen, parameters, context) {
  if (seen.texts.length + seen.foreign.length === 0) return undefined;
  const assessment = new Assessment(context);
  const ends = seen.texts.filter((text) => text.lacksLineEnd);
  assessment.check(
    LINE_END,
    ends.map(({ file, lastLine: line }) => ({ message: 'the last line has no line end', path: file.path, line })),
  );
  const blank = seen.texts.filter((text) => text.spaces.length > 0);
  assessment.check(
    WHITE_SPACE,
    blank.map(({ file, spaces: found }) => ({
      message: found.length === 1 ? 'a line ends in white space' : `${found.length} lines end in white space`,
      path: file.path,
      line: found[0][0],
      about: 'white space',
    })),
  );
  const left = ({ path }) => ({ message: 'the file was left behind by a merge', path });
  assessment.check(LEFTOVER, seen.leftovers.map(left));
  assessment.check(ENCODING, seen.foreign.map(({ path }) => ({ message: 'the file is not UTF-8 text', path })));
  if (!parameters.editorconfig) assessment.skip(EDITORCONFIG);
  else assessment.check(EDITORCONFIG, seen.hasEditorconfig ? [] : [{ message: 'there is no `.editorconfig`' }]);
  const { licence, hasLicense } = seen;
  if (licence === undefined && !hasLicense) assessment.skip(LICENCE);
  else assessment.check(LICENCE, hasLicense ? [] : [{ message: 'tools look for `LICENSE`', path: licence.path }]);
  return assessment;
}

/** Returns what would answer a finding, if anything would. */
function answer(seen, finding) {
  const path = finding.location?.path;
  const resolves = [finding];
  const text = seen.texts.find(({ file }) => file.path === path);
  switch (finding.rule) {
    case LINE_END.id: {
      const end = text.file.bytes.length;
      const because = 'tools that join files expect it';
      return edit(text.file.replace([[end, end, text.lineEnd]]), { because, resolves, risk: 'safe' });
    }
    case WHITE_SPACE.id: {
      // In Markdown, two blanks at the end of a line break it.
      const risk = path.endsWith('.md') ? 'review' : 'safe';
      const because = 'nobody sees it, and every editor changes it';
      const ranges = text.spaces.map(([, start, end]) => [start, end, '']);
      return edit(text.file.replace(ranges), { because, resolves, risk });
    }
    case EDITORCONFIG.id: {
      const because = 'editors keep to it by themselves';
      return edit(create('.editorconfig', SETTINGS), { because, resolves, risk: 'safe', ownership: 'seed' });
    }
    case LEFTOVER.id: {
      const file = seen.leftovers.find((leftover) => leftover.path === path);
      return edit(file.remove(), { because: 'the merge is over', resolves });
    }
    case LICENCE.id:
      return edit(seen.licence.rename('LICENSE'), { because: 'tools look for `LICENSE`', resolves });
    default:
      return undefined;
  }
}

export const pattern = {
  describe() {
    return {
      about: description({
        id: 'text-hygiene',
        version: '0.1.0',
        title: 'Text hygiene',
        summary:
          'Ends text files with a line end, removes white space at the ends of lines, and clears up beside them. ' +
          'Changes no other byte.',
        schema: SCHEMA,
        licence: 'MIT OR Apache-2.0',
      }),
      rules: [LINE_END, WHITE_SPACE, EDITORCONFIG, LEFTOVER, LICENCE, ENCODING],
      appliesTo: ['**/*.md', '**/*.txt'],
    };
  },

  validate(json, context) {
    const parameters = parametersOf(json, SCHEMA);
    return judge(survey(parameters), parameters, context)?.answer() ?? Assessment.notApplicable();
  },

  plan(json, context) {
    const parameters = parametersOf(json, SCHEMA);
    const seen = survey(parameters);
    const findings = judge(seen, parameters, context)?.findings.sorted() ?? [];
    const edits = findings.map((finding) => answer(seen, finding)).filter((one) => one !== undefined);
    const foreign = findings.filter((finding) => finding.rule === ENCODING.id);
    const nextSteps = [];
    if (foreign.length > 0) {
      const list = foreign.map((finding) => `- \`${finding.location.path}\``).join('\n');
      nextSteps.push({
        id: 'convert-to-utf-8',
        title: 'Convert files to UTF-8',
        instructions: `These files are not UTF-8, so nothing was changed in them:\n${list}`,
        blocking: false,
        validator: 'command-succeeded',
        validatorParameters: JSON.stringify({ exit_codes: [0] }),
      });
    }
    const { component } = JSON.parse(context);
    const of = typeof component === 'string' ? ` of \`${component}\`` : '';
    return {
      summary: `tidies the text files${of}`,
      edits: sortedEdits(edits),
      nextSteps,
      findings,
      extensions: [],
    };
  },
};
