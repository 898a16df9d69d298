"""{{title}}: judges whether a step is done."""

import json

from caelum import description, parameters_of
from wit_world import exports
from wit_world.exports.validator import Evidence, Phase, Reason, ValidatorDescription, Verdict, VerdictKind

# What a workflow can set. The descriptions are what people and models read.
SCHEMA = {
    "type": "object",
    "properties": {
        "must_say": {
            "description": "Text that every program must have written to standard output; empty asks for none.",
            "type": "string",
            "default": "",
        },
    },
    "additionalProperties": False,
}


class Validator(exports.Validator):
    def describe(self) -> ValidatorDescription:
        about = description(
            id="{{name}}",
            version="0.1.0",
            title="{{title}}",
            summary="Passes when every program ended with 0 and said what it must.",
            schema=SCHEMA,
        )
        return ValidatorDescription(about, phases=[Phase.AFTER], evidence_formats=["exit-code"])

    def judge(self, evidence: Evidence, parameters: str) -> Verdict:
        must_say = parameters_of(parameters, SCHEMA)["must_say"]
        failed, unknown = [], []
        if not evidence.outcomes:
            unknown.append(Reason("no-outcome", "no program has run: there is no outcome to judge", None, None))
        for outcome in evidence.outcomes:
            on = f"on `{outcome.machine}`, "
            if outcome.exit_code is None:
                unknown.append(Reason("no-exit-code", on + "there is no exit code", None, None))
            elif outcome.exit_code != 0:
                message = on + f"the program ended with {outcome.exit_code}"
                failed.append(Reason("nonzero-exit", message, None, None))
            elif must_say not in outcome.stdout.text:
                message = on + f"the program did not say `{must_say}`"
                # What was cut off may have held the text: that is no proof either way.
                if outcome.stdout.truncated:
                    unknown.append(Reason("output-cut-off", message, None, None))
                else:
                    failed.append(Reason("not-said", message, None, None))
        # Evidence that is missing or cut off is never a pass.
        if failed:
            kind, summary, reasons = VerdictKind.FAIL, failed[0].message, failed + unknown
        elif unknown:
            kind, summary, reasons = VerdictKind.INCONCLUSIVE, unknown[0].message, unknown
        else:
            kind, summary, reasons = VerdictKind.PASS, "every program ended with 0 and said what it must", []
        metrics = json.dumps({"programs": len(evidence.outcomes)})
        return Verdict(kind, summary, reasons, metrics, findings=[], extensions=[])
