//! The validator `startup-validation`: what was probed is up, healthy, and what it should be. It may be asked before a
//! step's action (what the step needs is there) and after it (what the step started runs).
//!
//! The host takes the probes; this validator knows what their answers mean, and the ways in which they look good and
//! are not.

mod expectation;
mod health;
mod http;
mod judgement;
mod place;
mod program;
mod systemd;
mod verdict;

use std::collections::BTreeMap;

use caelum_sdk::{About, Evidence, Phase, PluginError, Target, Validator, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use expectation::Expectation;

/// Judges probes of services, files, ports and programs.
#[derive(Debug)]
pub struct StartupValidation;

/// What is asked of the probes.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Names of the probes to judge. Empty means all of the step's probes. A step whose two gates ask different things
    /// names the probes of each.
    pub only: Vec<String>,
    /// Names of probes that must have been taken. Probes that are not named are judged, too.
    pub required: Vec<String>,
    /// How many probes there must be at least.
    #[schemars(range(min = 1))]
    pub min_probes: u32,
    /// Whether a service that says `degraded` or `warn` is good enough.
    pub allow_degraded: bool,
    /// What single probes must show, by the name of the probe. Without an entry, the usual for its kind: an HTTP answer
    /// of 200 to 299 with a healthy body, a TCP connection, a file that exists, variables that are set, a port that is
    /// free before the action and listened on after it, an active unit, a program that ends with 0.
    pub expect: BTreeMap<String, Expectation>,
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters {
            only: Vec::new(),
            required: Vec::new(),
            min_probes: 1,
            allow_degraded: false,
            expect: BTreeMap::new(),
        }
    }
}

impl Validator for StartupValidation {
    type Parameters = Parameters;

    const ABOUT: About = caelum_sdk::about!(
        "startup-validation",
        "Startup validation",
        "Passes when the step's probes show that what it needs, or what it started, is really up: HTTP answers with \
         healthy bodies, connections, files, variables, ports of the right owner, systemd units, programs. Needs \
         `probes` in the step; a probe that is missing, stale or could not be taken never passes.",
    );

    const PHASES: &'static [Phase] = &[Phase::Before, Phase::After];

    const EVIDENCE_FORMATS: &'static [&'static str] = &[
        "http-probe",
        "tcp-probe",
        "command-probe",
        "file-probe",
        "env-probe",
        "port-probe",
        "systemd-probe",
        "health-json",
        "spring-actuator",
        "kubernetes-healthz",
        "docker-inspect",
    ];

    fn judge(
        evidence: &Evidence,
        _: &dyn Target,
        parameters: &Parameters,
    ) -> Result<Verdict, PluginError> {
        expectation::check(parameters)?;
        Ok(verdict::judge(evidence, parameters))
    }
}

caelum_sdk::export_validator!(StartupValidation);
