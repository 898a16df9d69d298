// The validator `coverage-floor` of the polyglot kit, in JavaScript: asks for a share of covered lines, read from the
// LCOV reports that a step has left. Its twins in Rust and Python answer the same, to the letter.

import * as log from 'caelum:plugin/log@0.1.0';
import * as control from 'caelum:plugin/control@0.1.0';
import { Findings, description, invalidParameters, parametersOf, readIfPresent, textOf } from './caelum.js';

const SCHEMA = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  description: 'How much has to be covered.',
  type: 'object',
  properties: {
    report: {
      description: "The LCOV report, relative to a machine's evidence.",
      type: 'string',
      minLength: 1,
      default: 'lcov.info',
    },
    percent_min: {
      description: 'The least share of all lines that must be covered, in percent.',
      type: 'integer',
      format: 'uint32',
      minimum: 0,
      maximum: 100,
      default: 80,
    },
    file_percent_min: {
      description: 'The least share of the lines of each single file, in percent; 0 asks nothing of single files.',
      type: 'integer',
      format: 'uint32',
      minimum: 0,
      maximum: 100,
      default: 0,
    },
    review_percent_min: {
      description: 'From this share on, though it is below `percent_min`, a person decides. Without it nobody is asked.',
      type: ['integer', 'null'],
      format: 'uint32',
      minimum: 0,
      maximum: 100,
      default: null,
    },
    exclude: {
      description: 'Source files to leave out: those whose path begins with one of these.',
      type: 'array',
      items: { type: 'string' },
      default: [],
    },
  },
  additionalProperties: false,
};

/** Why a report shows nothing. */
class Fault {
  constructor(code, message, line) {
    Object.assign(this, { code, message, line });
  }
}

const malformed = (line, message) => new Fault('report-malformed', message, line);

/** Reads a number of at most nine digits. */
function number(text, line, key) {
  if (!/^[0-9]{1,9}$/.test(text ?? '')) throw malformed(line, `\`${key}\` has no number`);
  return Number(text);
}

/** Reads an LCOV report: which source files it names, and how many of their lines have run. */
function lcov(bytes) {
  const text = textOf(bytes);
  if (text === undefined) throw new Fault('report-not-text', 'the report is not UTF-8 text');
  const files = [];
  let open;
  for (const [index, raw] of text.split('\n').entries()) {
    const at = index + 1;
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
    if (line === 'end_of_record') {
      if (open === undefined) throw malformed(at, 'a record ends that never began');
      const { source, line: begin } = open;
      const [found, hit] = [open.sums.LF ?? open.found, open.sums.LH ?? open.hit];
      if (hit > found) throw malformed(begin, `\`${source}\` has ${hit} covered lines of ${found}`);
      files.push({ source, line: begin, found, hit });
      open = undefined;
      continue;
    }
    const colon = line.indexOf(':');
    if (colon < 0) continue;
    const [key, value] = [line.slice(0, colon), line.slice(colon + 1)];
    if (key === 'SF') {
      if (open !== undefined) {
        throw malformed(at, `a record begins before that of line ${open.line} has ended`);
      }
      open = { source: value, line: at, found: 0, hit: 0, sums: {} };
    } else if (key === 'LF' || key === 'LH' || key === 'DA') {
      if (open === undefined) throw malformed(at, `\`${key}\` stands outside a record`);
      if (key === 'DA') {
        const hits = number(value.split(',')[1], at, key);
        open.found += 1;
        open.hit += hits > 0 ? 1 : 0;
      } else {
        open.sums[key] = number(value, at, key);
      }
    }
  }
  if (open !== undefined) {
    throw new Fault('report-cut-off', `the record of \`${open.source}\` has no end: the report is cut off`, open.line);
  }
  return files;
}

/** Whether a share lies below a whole number of percent, without rounding. */
const isBelow = ({ hit, found }, percent) => hit * 100 < percent * found;

/** Writes a share with one decimal, rounded down: what is not quite enough must not look as if it were. */
function share({ hit, found }) {
  const tenths = Math.floor((hit * 1000) / found);
  return `${Math.floor(tenths / 10)}.${tenths % 10}`;
}

const sum = (files, key) => files.reduce((total, file) => total + file[key], 0);

function summary(reasons) {
  const first = reasons[0].message;
  return reasons.length === 1 ? first : `${first} (and ${reasons.length - 1} more)`;
}

/** Says how the program ended on one machine: nothing when it ended well. */
function ending({ machine, timedOut, signal, exitCode }) {
  const failed = (code, message) => ({ failed: { code, message: `on \`${machine}\`, ${message}` } });
  if (timedOut) return failed('timed-out', 'the program was ended when its time was up');
  if (signal != null) return failed('ended-by-signal', `the program was ended by signal ${signal}`);
  if (exitCode == null) {
    return { unknown: { code: 'no-exit-code', message: `on \`${machine}\`, there is no exit code` } };
  }
  return exitCode === 0 ? {} : failed('nonzero-exit', `the program ended with ${exitCode}`);
}

/** What was learned so far, and what it means. */
class Judgement {
  failed = [];
  unknown = [];
  /** What a person has to decide. */
  open = [];
  findings = new Findings();
  machines = 0;
  total = { files: 0, found: 0, hit: 0 };
  /** The file with the smallest share. */
  least;

  constructor(parameters) {
    this.parameters = parameters;
  }

  outcome(outcome) {
    const { machine } = outcome;
    this.machines += 1;
    const { failed, unknown } = ending(outcome);
    if (failed) this.failed.push(failed);
    if (unknown) this.unknown.push(unknown);
    const { report } = this.parameters;
    const path = `evidence/${machine}/${report}`;
    const bytes = readIfPresent(path);
    if (bytes === undefined) {
      const message = `\`${report}\` was not collected on \`${machine}\`; name it in the action's \`collect\``;
      this.unknown.push({ code: 'report-missing', message });
      return;
    }
    try {
      this.report(machine, path, lcov(bytes));
    } catch (fault) {
      if (!(fault instanceof Fault)) throw fault;
      const message = `on \`${machine}\`, ${fault.message}`;
      this.unknown.push({ code: fault.code, message, path, line: fault.line });
    }
  }

  report(machine, path, all) {
    const files = all.filter(({ source }) => !this.parameters.exclude.some((prefix) => source.startsWith(prefix)));
    const lines = { found: sum(files, 'found'), hit: sum(files, 'hit') };
    if (lines.found === 0) throw new Fault('report-empty', 'the report names no lines');
    const fields = [['machine', machine], ['files', String(files.length)], ['percent', share(lines)]];
    log.log('info', 'a report was read', fields);
    this.allLines(machine, path, lines);
    this.singleFiles(machine, path, files);
    this.total.files += files.length;
    this.total.found += lines.found;
    this.total.hit += lines.hit;
  }

  allLines(machine, path, lines) {
    const { percent_min: wanted, review_percent_min: review } = this.parameters;
    if (!isBelow(lines, wanted)) return;
    const message =
      `on \`${machine}\`, ${share(lines)} % of ${lines.found} lines are covered; at least ${wanted} % are wanted`;
    const undecided = review != null && !isBelow(lines, review);
    (undecided ? this.open : this.failed).push({ code: 'coverage-low', message, path });
  }

  singleFiles(machine, path, files) {
    const wanted = this.parameters.file_percent_min;
    let low = 0;
    for (const file of files) {
      if (file.found === 0) continue;
      const { least } = this;
      if (least === undefined || file.hit * least.found < least.hit * file.found) this.least = file;
      if (!isBelow(file, wanted)) continue;
      low += 1;
      this.findings.add({
        rule: 'CF01',
        severity: 'warning',
        message:
          `on \`${machine}\`, ${share(file)} % of the lines of \`${file.source}\` are covered; ` +
          `at least ${wanted} % are wanted`,
        path,
        line: file.line,
        about: file.source,
        remediation: 'Write tests that run its uncovered lines.',
      });
    }
    if (low > 0) {
      const message = `on \`${machine}\`, ${low} files are covered by less than ${wanted} %`;
      this.failed.push({ code: 'file-coverage-low', message, path });
    }
  }

  /** Lets people decide what is open. Who did the work has no vote. */
  hearReviewers({ performer, reviews, subjectDigest }) {
    if (this.open.length === 0) return;
    const votes = reviews.filter((review) => review.subjectDigest === subjectDigest && review.reviewer !== performer);
    const rejected = votes.find(({ decision }) => decision === 'rejected');
    if (rejected !== undefined) {
      const message = `\`${rejected.reviewer}\` has rejected it: ${rejected.reason}`;
      this.failed.push(...this.open, { code: 'review-rejected', message });
      this.open = [];
    } else if (votes.some(({ decision }) => decision === 'approved')) {
      this.open = [];
    }
  }

  verdict(evidence) {
    this.hearReviewers(evidence);
    const { failed, unknown, open, machines, total, least } = this;
    const metrics = { machines, files: total.files, lines_found: total.found, lines_hit: total.hit };
    if (total.found > 0) metrics.percent = share(total);
    const on = machines === 1 ? '' : ` on ${machines} machines`;
    const [kind, reasons] =
      failed.length > 0
        ? ['fail', [...failed, ...unknown]]
        : unknown.length > 0
          ? ['inconclusive', unknown]
          : open.length > 0
            ? ['needs-review', open]
            : ['pass', []];
    const told = kind === 'fail' ? failed : reasons;
    return {
      kind,
      summary:
        kind === 'pass'
          ? `${share(total)} % of ${total.found} lines in ${total.files} files are covered${on}`
          : summary(told),
      reasons,
      metrics: JSON.stringify(metrics),
      findings: this.findings.sorted(),
      extensions: least === undefined ? [] : [['coverage-floor/least-covered', JSON.stringify(least.source)]],
    };
  }
}

export const validator = {
  describe() {
    return {
      about: description({
        id: 'coverage-floor',
        version: '0.1.0',
        title: 'Coverage floor',
        summary:
          "Passes when the step's program ended well and covered enough lines on every machine. Reads LCOV reports: " +
          "name them in the action's `collect`.",
        schema: SCHEMA,
        licence: 'MIT OR Apache-2.0',
      }),
      phases: ['after'],
      evidenceFormats: ['exit-code', 'lcov'],
    };
  },

  judge(evidence, json) {
    const parameters = parametersOf(json, SCHEMA);
    const { percent_min: wanted, review_percent_min: review } = parameters;
    if (review != null && review > wanted) {
      throw invalidParameters([
        ['/review_percent_min', `expected at most \`percent_min\`, which is ${wanted}`],
      ]);
    }
    const machines = evidence.outcomes.length;
    if (machines === 0) {
      const message = 'no program has run: there is no outcome to judge';
      const reasons = [{ code: 'no-outcome', message }];
      return { kind: 'inconclusive', summary: message, reasons, metrics: '{}', findings: [], extensions: [] };
    }
    const judgement = new Judgement(parameters);
    for (const [done, outcome] of evidence.outcomes.entries()) {
      control.progress(done, machines, outcome.machine);
      judgement.outcome(outcome);
    }
    control.progress(machines, machines, 'done');
    return judgement.verdict(evidence);
  },
};
