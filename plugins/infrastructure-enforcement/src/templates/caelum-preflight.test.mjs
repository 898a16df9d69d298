// Exercises the start-up checks of .caelum/preflight.sh: each kind can fail, and says what is missing.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

function component() {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, '.caelum', 'preflight.sh'))) {
    assert.notEqual(folder, dirname(folder), 'there is no .caelum/preflight.sh above this test');
    folder = dirname(folder);
  }
  return folder;
}

function preflight(...options) {
  return spawnSync('sh', [join(component(), '.caelum', 'preflight.sh'), '--only-arguments', ...options], {
    env: { PATH: process.env.PATH },
    encoding: 'utf8',
    timeout: 60_000,
  });
}

test('what is there passes', () => {
  const result = preflight('--require-file', '.caelum/component.json', '--require-env', 'PATH');
  assert.equal(result.status, 0, result.stderr);
});

test('a missing variable is named', () => {
  const result = preflight('--require-env', 'CAELUM_SURELY_NOT_SET');
  assert.equal(result.status, 1);
  assert.match(result.stderr, /CAELUM_SURELY_NOT_SET is not set/);
});

test('a missing file is named', () => {
  const result = preflight('--require-file', 'surely/not/there');
  assert.equal(result.status, 1);
  assert.match(result.stderr, /surely\/not\/there is missing/);
});

test('the command runs only after all checks', () => {
  const passed = preflight('--require-env', 'PATH', '--', 'echo', 'started');
  assert.deepEqual([passed.status, passed.stdout], [0, 'started\n']);
  const refused = preflight('--require-env', 'CAELUM_SURELY_NOT_SET', '--', 'echo', 'started');
  assert.deepEqual([refused.status, refused.stdout], [1, '']);
});
