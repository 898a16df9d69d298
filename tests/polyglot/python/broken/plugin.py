"""A validator with a bug, for the tests: what does the host say, and does the author learn where it is?"""

from caelum import description
from wit_world import exports
from wit_world.exports.validator import Evidence, Phase, ValidatorDescription, Verdict


class Validator(exports.Validator):
    """What the host asks."""

    def describe(self) -> ValidatorDescription:
        schema = {"type": "object"}
        about = description("broken", "0.1.0", "Broken", "Raises what nobody catches.", schema)
        return ValidatorDescription(about, [Phase.AFTER], [])

    def judge(self, evidence: Evidence, parameters: str) -> Verdict:
        raise KeyError("a bug in the plugin")
