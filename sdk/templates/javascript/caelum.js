// What every plugin needs and JavaScript engines without a browser around them lack: SHA-256 and UTF-8, reads that say
// what went wrong, findings with fingerprints that last, edits that are bound to the bytes they were made for.
//
// Plain JavaScript without dependencies. Copied into each plugin: change it as you like.
//
// 64-bit numbers are given to the host as plain numbers, which both engines take. From the host QuickJS gives plain
// numbers and StarlingMonkey gives `BigInt`: use `Number(…)` on what you compute with. What is absent is `null`
// in QuickJS and `undefined` in StarlingMonkey: compare with `== null`.

import * as target from 'caelum:plugin/target@0.1.0';

// ---- Errors ---------------------------------------------------------------------------------------------------------
// What an exported function throws must be a `plugin-error` of the contract, as plain data. Anything else is a bug and
// becomes a trap.

/** The parameters cannot be used. `problems` are pairs of JSON Pointer and message: all of them at once. */
export function invalidParameters(problems) {
  return { tag: 'invalid-parameters', val: problems.map(([pointer, message]) => ({ pointer, message })) };
}

/** The host refused something that the plugin cannot do without. */
export function refused(message) {
  return { tag: 'host', val: message };
}

/** Anything else, for a person to read. */
export function other(message) {
  return { tag: 'other', val: message };
}

// ---- Parameters and descriptions ------------------------------------------------------------------------------------

/** Reads parameters, which the host has checked against the schema, and fills in the defaults that the schema names. */
export function parametersOf(json, schema) {
  const parameters = {};
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    if ('default' in property) parameters[name] = property.default;
  }
  return Object.assign(parameters, JSON.parse(json));
}

/** Makes the part of a description that patterns and validators share. */
export function description({ id, version, title, summary, schema, licence }) {
  const extensions = licence === undefined ? [] : [['licence', JSON.stringify(licence)]];
  return { id, version, title, summary, parametersSchema: JSON.stringify(schema), extensions };
}

// ---- Reads ----------------------------------------------------------------------------------------------------------

/** The most that one read gives. */
const READ_BYTES_MAX = 1024 * 1024;

const SAID = {
  'not-found': (path) => `\`${path}\` does not exist`,
  denied: (path) => `\`${path}\` may not be read`,
  'not-a-file': (path) => `\`${path}\` is not a regular file`,
  'not-a-directory': (path) => `\`${path}\` is not a directory`,
  'not-utf8': (path) => `\`${path}\` is not UTF-8 text`,
  'budget-exceeded': (path) => `\`${path}\` is more than this call may read`,
  io: (path, message) => `\`${path}\` cannot be read: ${message}`,
};

/**
 * Asks the host. When it refuses, answers `otherwise[tag]` if there is such a key, and throws a `plugin-error` that
 * says what was refused if there is none.
 */
function ask(path, question, otherwise = {}) {
  try {
    return question();
  } catch (error) {
    // An engine hands the error on as it is, or in the `payload` of an exception.
    const code = error?.payload ?? error;
    if (typeof code?.tag !== 'string' || !(code.tag in SAID)) throw error;
    if (code.tag in otherwise) return otherwise[code.tag];
    throw refused(SAID[code.tag](path, code.val));
  }
}

/** Reads a whole file, however long it is, as bytes; `undefined` when it is not there. */
export function readIfPresent(path) {
  const pieces = [];
  let length = 0;
  for (;;) {
    const piece = ask(path, () => target.read(path, length, READ_BYTES_MAX), { 'not-found': undefined });
    if (piece === undefined) return undefined;
    pieces.push(piece);
    length += piece.length;
    if (piece.length < READ_BYTES_MAX) break;
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Reads a whole file, however long it is, as bytes. */
export function read(path) {
  const bytes = readIfPresent(path);
  if (bytes === undefined) throw refused(SAID['not-found'](path));
  return bytes;
}

/** Tells whether a regular file that may be read is there. */
export function isFile(path) {
  const no = { 'not-found': false, denied: false, 'not-a-file': false, 'not-a-directory': false, 'not-utf8': false };
  return ask(path, () => (target.read(path, 0, 0), true), no);
}

/** Lists the paths of the files that match a glob, sorted by their bytes. */
export function glob(pattern, limit) {
  return ask(pattern, () => target.glob(pattern, limit)).map((entry) => entry.path);
}

// ---- Text -----------------------------------------------------------------------------------------------------------

/** Writes text as UTF-8. Positions in edits count these bytes, not the characters of JavaScript. */
export function utf8(text) {
  const bytes = [];
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    }
  }
  return Uint8Array.from(bytes);
}

/**
 * Decodes the character that begins at a byte and returns its code and length; -1 as the code when the bytes are not
 * UTF-8: longer than they need be, half a pair, beyond the last character, or cut off.
 */
function decode(bytes, at) {
  const first = bytes[at];
  if (first < 0x80) return [first, 1];
  const length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.length) return [-1, 1];
  let code = first & (0x7f >> length);
  for (let next = at + 1; next < at + length; next += 1) {
    if ((bytes[next] & 0xc0) !== 0x80) return [-1, 1];
    code = (code << 6) | (bytes[next] & 0x3f);
  }
  const least = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000;
  const half = code >= 0xd800 && code < 0xe000;
  return [code < least || code > 0x10ffff || half ? -1 : code, length];
}

/** Tells whether bytes are UTF-8, without making text of them. */
export function isText(bytes) {
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] < 0x80) {
      at += 1;
      continue;
    }
    const [code, length] = decode(bytes, at);
    if (code < 0) return false;
    at += length;
  }
  return true;
}

/** Reads UTF-8; `undefined` when the bytes are something else. QuickJS has no `TextDecoder`. */
export function textOf(bytes) {
  if (!isText(bytes)) return undefined;
  if (typeof TextDecoder === 'function') return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const pieces = [];
  const codes = [];
  for (let at = 0; at < bytes.length; ) {
    const [code, length] = decode(bytes, at);
    codes.push(code);
    at += length;
    if (codes.length === 4096 || at >= bytes.length) {
      pieces.push(String.fromCodePoint(...codes));
      codes.length = 0;
    }
  }
  return pieces.join('');
}

/** Compares texts by their bytes in UTF-8, as the contract sorts. `sort()` alone compares halves of characters. */
export function byBytes(left, right) {
  const [a, b] = [Array.from(left), Array.from(right)];
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at += 1) {
    if (a[at] !== b[at]) return a[at].codePointAt(0) - b[at].codePointAt(0);
  }
  return a.length - b.length;
}

// ---- SHA-256 (FIPS 180-4) -------------------------------------------------------------------------------------------

const PRIMES = [];
for (let candidate = 2; PRIMES.length < 64; candidate += 1) {
  if (PRIMES.every((prime) => candidate % prime !== 0)) PRIMES.push(candidate);
}
/** The first 32 bits behind the point of a root of a number. */
const fraction = (root) => ((root - Math.floor(root)) * 2 ** 32) >>> 0;
const ROUNDS = Uint32Array.from(PRIMES, (prime) => fraction(Math.cbrt(prime)));
const START = PRIMES.slice(0, 8).map((prime) => fraction(Math.sqrt(prime)));
const turn = (word, bits) => (word >>> bits) | (word << (32 - bits));

/** Computes SHA-256 as 64 lower-case hexadecimal digits. */
export function sha256(bytes) {
  const blocks = Math.ceil((bytes.length + 9) / 64);
  const padded = new Uint8Array(blocks * 64);
  padded.set(bytes);
  padded[bytes.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n);
  const state = Uint32Array.from(START);
  const words = new Uint32Array(64);
  for (let block = 0; block < blocks; block += 1) {
    for (let i = 0; i < 16; i += 1) words[i] = view.getUint32(block * 64 + i * 4);
    for (let i = 16; i < 64; i += 1) {
      const [x, y] = [words[i - 15], words[i - 2]];
      const s0 = turn(x, 7) ^ turn(x, 18) ^ (x >>> 3);
      const s1 = turn(y, 17) ^ turn(y, 19) ^ (y >>> 10);
      words[i] = words[i - 16] + s0 + words[i - 7] + s1;
    }
    let [a, b, c, d, e, f, g, h] = state;
    for (let i = 0; i < 64; i += 1) {
      const s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
      const first = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i] + words[i]) | 0;
      const s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
      const second = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((word, i) => {
      state[i] += word;
    });
  }
  return Array.from(state, (word) => word.toString(16).padStart(8, '0')).join('');
}

// ---- Findings -------------------------------------------------------------------------------------------------------

/** Makes what lets two runs know the same finding although lines have moved. */
function fingerprint(rule, path, about, occurrence) {
  const content = about.split(/\s+/u).filter((word) => word !== '').join(' ');
  const digest = sha256(utf8(`${rule}\0${path}\0${content}`)).slice(0, 32);
  return occurrence === 0 ? `${rule}:${digest}` : `${rule}:${digest}:${occurrence}`;
}

/** Findings of one answer, each with a fingerprint of its own. */
export class Findings {
  #list = [];

  /**
   * Adds a finding and returns it. `about` says what it is about when the message may change from run to run; by
   * default it is the message.
   */
  add({ rule, severity, message, path, line, about = message, remediation }) {
    const base = fingerprint(rule, path ?? '', about, 0);
    const equals = this.#list.filter((other) => other.base === base).length;
    const location = path === undefined ? undefined : { path, line };
    const print = equals === 0 ? base : `${base}:${equals}`;
    const finding = { rule, severity, message, location, remediation, fingerprint: print, extensions: [] };
    this.#list.push({ finding, base, equals });
    return finding;
  }

  /** Returns the findings as the contract sorts them: by path, line and rule. Those without a place come first. */
  sorted() {
    const place = ({ finding }) => finding.location;
    return [...this.#list]
      .sort((left, right) => {
        const [a, b] = [place(left), place(right)];
        if ((a === undefined) !== (b === undefined)) return a === undefined ? -1 : 1;
        const paths = a === undefined ? 0 : byBytes(a.path, b.path) || (a.line ?? 0) - (b.line ?? 0);
        return paths || byBytes(left.finding.rule, right.finding.rule) || left.equals - right.equals;
      })
      .map(({ finding }) => finding);
  }
}

/** Puts together what a pattern thinks of a component. */
export class Assessment {
  #passed = new Set();
  #skipped = new Set();
  #wanted;
  findings = new Findings();

  /** `context` is the JSON text that the host gave: when it names `rules`, only those count. */
  constructor(context) {
    this.#wanted = JSON.parse(context).rules ?? undefined;
  }

  /** Tells whether the caller wants to hear of a rule. */
  wants(rule) {
    return this.#wanted === undefined || this.#wanted.includes(rule);
  }

  /** Records what a rule found; it holds when that is nothing. */
  check(rule, findings) {
    if (!this.wants(rule.id)) return;
    if (findings.length === 0) this.#passed.add(rule.id);
    for (const finding of findings) {
      const { id, severity, remediation } = rule;
      this.findings.add({ rule: id, severity, remediation, ...finding });
    }
  }

  /** Records that a rule has nothing to look at here. */
  skip(rule) {
    if (this.wants(rule.id)) this.#skipped.add(rule.id);
  }

  /** Returns the answer of `validate`. */
  answer() {
    const findings = this.findings.sorted();
    return {
      applicability: findings.length === 0 ? 'already-applied' : 'applicable',
      findings,
      passedRules: [...this.#passed].sort(byBytes),
      notApplicableRules: [...this.#skipped].sort(byBytes),
      extensions: [],
    };
  }

  /** Returns the answer of `validate` when the component is nothing this pattern is about. */
  static notApplicable() {
    return {
      applicability: 'not-applicable',
      findings: [],
      passedRules: [],
      notApplicableRules: [],
      extensions: [],
    };
  }
}

// ---- Edits ----------------------------------------------------------------------------------------------------------

/** A file as it was read: what edits of it are bound to. */
export class SourceFile {
  #sha256;

  constructor(path, bytes = read(path)) {
    this.path = path;
    this.bytes = bytes;
  }

  /** Hashed when it is first asked for: interpreters take a while for a large file. */
  get sha256() {
    this.#sha256 ??= sha256(this.bytes);
    return this.#sha256;
  }

  /** Changes parts of it: `ranges` are triples of first byte, byte after the last one, and the text in their place. */
  replace(ranges) {
    const sorted = [...ranges].sort((left, right) => left[0] - right[0] || left[1] - right[1]);
    return {
      tag: 'replace',
      val: {
        path: this.path,
        baseSha256: this.sha256,
        ranges: sorted.map(([start, end, text]) => ({ start, end, text })),
      },
    };
  }

  /** Removes it. */
  remove() {
    return { tag: 'delete', val: { path: this.path, baseSha256: this.sha256 } };
  }

  /** Gives it another path. */
  rename(destination) {
    return { tag: 'rename', val: { source: this.path, destination, baseSha256: this.sha256 } };
  }
}

/** Makes a text file where nothing is. */
export function create(path, text) {
  return { tag: 'create', val: { path, content: { tag: 'text', val: text } } };
}

/** Makes an edit of a change. It needs review unless `risk` says `safe`. */
export function edit(change, { because, resolves = [], risk = 'review', ownership = 'block' }) {
  return { change, ownership, risk, resolves: resolves.map((finding) => finding.fingerprint), rationale: because };
}

/** Sorts edits as the contract asks: by path, and by the first byte within one path. */
export function sortedEdits(edits) {
  const path = ({ change }) => change.val.path ?? change.val.source;
  const first = ({ change }) => (change.tag === 'replace' ? change.val.ranges[0].start : 0);
  return [...edits].sort((left, right) => byBytes(path(left), path(right)) || first(left) - first(right));
}
