// Counts the checks of one run of the conformance suite, names those that failed, and fails when there is one or none ran.
//
//   node count.js REVISION FOLDER

'use strict';

const fs = require('node:fs');
const path = require('node:path');

const [revision, folder] = process.argv.slice(2);

function files(place) {
    if (!fs.existsSync(place)) return [];
    return fs.readdirSync(place, { withFileTypes: true }).flatMap((entry) => {
        const inner = path.join(place, entry.name);
        return entry.isDirectory() ? files(inner) : entry.name === 'checks.json' ? [inner] : [];
    });
}

// Messages of the wire are quoted whole in some of the reasons.
const REASON_CHARS_MAX = 300;

const counts = {};
let scenarios = 0;
let failures = 0;
for (const file of files(folder).sort()) {
    scenarios += 1;
    const scenario = path.basename(path.dirname(file)).replace(/-\d{4}-\d\d-\d\dT.*$/, '');
    for (const check of JSON.parse(fs.readFileSync(file, 'utf8'))) {
        counts[check.status] = (counts[check.status] ?? 0) + 1;
        if (check.status === 'FAILURE' || check.status === 'WARNING') {
            failures += 1;
            const reason = String(check.errorMessage ?? check.description).slice(0, REASON_CHARS_MAX);
            console.log(`  ${check.status} ${scenario}: ${check.id}: ${reason}`);
        }
    }
}
const passed = counts.SUCCESS ?? 0;
const skipped = counts.SKIPPED ?? 0;
console.log(`${revision}: ${passed}/${passed + failures} checks of ${scenarios} scenarios passed, ${skipped} skipped`);
process.exit(failures > 0 || passed === 0 ? 1 : 0);
