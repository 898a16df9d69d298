//! Random histories, held to promises after every event.

use super::*;

/// A random workflow: dependencies point backwards, so it has no cycle.
fn workflows() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let step = (
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        0_u8..4,
        0_u8..3,
        0_u8..3,
        prop::bool::weighted(0.8),
        0_usize..4,
        prop::option::weighted(0.4, (0_usize..7, 1_u32..4)),
    );
    prop::collection::vec(step, 0..7).prop_map(|rows| {
        rows.into_iter()
            .enumerate()
            .map(|(index, (dependencies, gates, on_failure, action, idempotent, machines, map))| {
                let mut step = command(&format!("s{index}"), &[]);
                if index > 0 {
                    let named: BTreeSet<usize> =
                        dependencies.iter().map(|dependency| dependency.index(index)).collect();
                    step.dependencies = named
                        .iter()
                        .map(|dependency| format!("s{dependency}").parse().expect("legal"))
                        .collect();
                }
                if action == 0 {
                    step.action = Action::Manual { instructions: String::new() };
                }
                if gates & 1 == 1 {
                    let name = if index % 2 == 0 { "before" } else { "after" };
                    step.enforcement = Some(name.parse().expect("legal"));
                }
                if gates & 2 == 2 {
                    step.validation = Some("both".parse().expect("legal"));
                }
                step.on_failure = [OnFailure::Stop, OnFailure::Continue, OnFailure::SkipDependents]
                    [on_failure as usize];
                step.idempotent = idempotent;
                if on_failure == 1 {
                    step.total_timeout_s = Some(40 + index as u64 * 50);
                }
                if gates > 1 && action == 1 {
                    step.review = Some(ReviewRules {
                        deadline_s: Some(30),
                        on_timeout: [
                            OnReviewTimeout::Reject,
                            OnReviewTimeout::Approve,
                            OnReviewTimeout::Escalate,
                        ][index % 3],
                        ..ReviewRules::default()
                    });
                }
                if action == 2 && machines == 0 {
                    step.action = Action::Workflow {
                        workflow_id: "child".into(),
                        revision: None,
                        parameters: Map::new(),
                    };
                }
                step.target_machines =
                    ["m1", "m2", "m3"][..machines.min(3)].iter().map(|m| (*m).to_owned()).collect();
                if let Some((items, max)) = map
                    && action != 0
                {
                    step.map = Some(StepMap {
                        max,
                        ..StepMap::over((0..items).map(Value::from).collect())
                    });
                }
                if machines == 2 {
                    step.strategy = Strategy::Parallel { max: Some(1 + index as u32) };
                }
                if machines == 3 {
                    step.strategy = Strategy::Sequential { continue_on_failure: index % 2 == 1 };
                }
                step
            })
            .collect()
    })
}

/// Returns the items that ended well, by step and machine.
fn completed_items(execution: &Execution) -> BTreeSet<(String, String, u32)> {
    let mut items = BTreeSet::new();
    for (index, state) in execution.steps().iter().enumerate() {
        let step = execution.definition().steps[index].id.to_string();
        items.extend(
            state
                .targets
                .iter()
                .filter(|target| target.phase == TargetPhase::Succeeded)
                .filter_map(|target| {
                    Some((step.clone(), target.machine.to_string(), target.item_index()?))
                }),
        );
    }
    items
}

/// Does one random thing that somebody or something outside could do.
fn poke(run: &mut Run, choice: u8, pick: usize) {
    if run.execution.head().end.is_some() && choice != 9 {
        return;
    }
    let effects = run.wanted.effects.clone();
    let effect = (!effects.is_empty()).then(|| effects[pick % effects.len()]);
    let statuses = [
        (OutcomeStatus::Succeeded, FailureClass::Exit),
        (OutcomeStatus::Succeeded, FailureClass::Exit),
        (OutcomeStatus::Failed, FailureClass::Exit),
        (OutcomeStatus::TimedOut, FailureClass::Transient),
        (OutcomeStatus::NotStarted, FailureClass::Permanent),
    ];
    match (choice, effect) {
        (0..=4, Some(Effect::Run { step, target, .. } | Effect::Stop { step, target, .. })) => {
            let (status, class) = statuses[choice as usize];
            run.report_target((step, target), outcome(status, class));
        }
        (0..=4, Some(Effect::Judge { step, .. })) => {
            let id = run.execution.definition().steps[step].id.to_string();
            let kinds = [
                VerdictKind::Pass,
                VerdictKind::Pass,
                VerdictKind::Fail,
                VerdictKind::NeedsReview,
                VerdictKind::Inconclusive,
            ];
            run.judge(&id, kinds[choice as usize], None);
        }
        (5 | 6, _) => {
            let open: Vec<usize> = run.execution.open_steps().collect();
            let Some(step) = (!open.is_empty()).then(|| open[pick % open.len()]) else { return };
            let id = run.execution.definition().steps[step].id.to_string();
            let report = WorkReport {
                performer: "bob".into(),
                succeeded: choice == 5,
                summary: String::new(),
                outputs: Map::new(),
                files: vec![],
            };
            let review = Review {
                reviewer: "ann".into(),
                decision: ReviewDecision::Approved,
                reason: String::new(),
                at: at(run.seconds),
                subject_digest: Digest::from_bytes(&[1; 32]),
            };
            let decided = run.execution.decide(
                &id,
                (choice == 5).then_some(true),
                "ann".into(),
                String::new(),
            );
            let bodies =
                [run.execution.complete_step(&id, report), run.execution.review(&id, review)]
                    .into_iter()
                    .find_map(Result::ok)
                    .map(|body| vec![body])
                    .or(decided.ok());
            for body in bodies.unwrap_or_default() {
                run.record(body);
            }
        }
        (7, _) => {
            let control = if run.execution.head().paused.is_some() {
                Control::Resume
            } else {
                Control::Pause
            };
            if let Ok(Some(body)) = run.execution.control(&control, "x".into(), String::new()) {
                run.record(body);
            }
        }
        (8, _) => {
            for body in recover(&run.execution).record {
                run.record(body);
            }
        }
        (9, _) => {
            let retry = run.execution.control(&Control::RetryFailed, "x".into(), String::new());
            if let Ok(Some(body)) = retry {
                run.record(body);
            }
        }
        (10, _) if pick.is_multiple_of(8) => {
            if let Ok(Some(body)) =
                run.execution.control(&Control::Cancel, "x".into(), String::new())
            {
                run.record(body);
            }
        }
        _ => run.wait(1 + (pick as u64 % 90)),
    }
}

fn check_promises(run: &mut Run) -> Result<(), proptest::test_runner::TestCaseError> {
    let execution = &run.execution;
    let definition = execution.definition();
    for (index, step) in execution.steps().iter().enumerate() {
        if step.attempt > 0 {
            for dependency in execution.graph().dependencies(index) {
                let before = execution.step(*dependency);
                // A retried dependency may be open again; what began earlier keeps what it did.
                let ended = before.is_final() || before.attempts_before > 0;
                prop_assert!(ended, "step {index} ran before step {dependency} ended");
            }
        }
        // Nothing outlives its time: neither the step's own, nor the time to end, nor the deadline of a review.
        let now = at(run.seconds);
        let open = execution.head().end.is_none() && execution.head().cancel.is_none();
        let counts = open && !step.is_final() && step.attempt > step.attempts_before;
        if counts && let Some(over) = execution.expires_at(index) {
            let over = step.expired_at.map_or(over, |since| since.plus(Duration::from_secs(60)));
            prop_assert!(now < over, "step {index} outlived its total time");
        }
        if open && let Some(until) = execution.review_until(index) {
            prop_assert!(now < until, "step {index} waits for a review behind its deadline");
        }
        let running =
            step.targets.iter().filter(|target| target.phase == TargetPhase::Running).count();
        prop_assert!(!step.is_final() || running == 0, "step {index} ended and still runs");
        if matches!(definition.steps[index].strategy, Strategy::Sequential { .. }) {
            prop_assert!(running <= 1, "a sequence ran wider than one");
        }
        if let Strategy::Parallel { max: Some(max) } = definition.steps[index].strategy {
            prop_assert!(running <= max as usize, "step {index} ran wider than it may");
        }
        if let Some(map) = &definition.steps[index].map {
            let out: BTreeSet<Option<u32>> = step
                .targets
                .iter()
                .filter(|target| target.phase == TargetPhase::Running)
                .map(|target| target.item_index())
                .collect();
            prop_assert!(out.len() <= map.max as usize, "too many items are under way");
            // Whatever could run does, unless somebody holds it.
            let held = execution.head().paused.is_some() || execution.head().cancel.is_some();
            let tally = step.targets.tally();
            let idle = running + tally.unknown == 0 && tally.waiting > tally.resting;
            let rests = matches!(definition.steps[index].strategy, Strategy::Sequential { .. })
                && tally.resting > 0;
            if step.phase == StepPhase::Acting && !held {
                prop_assert!(!idle || rests, "items wait and nothing runs in step {index}");
            }
        }
    }
    // Nothing is stuck: an open execution names what it waits for.
    if execution.head().end.is_none() {
        let somebody = execution.steps().iter().any(|step| step.waiting_for().is_some());
        prop_assert!(
            !run.wanted.effects.is_empty()
                || run.wanted.wake_at.is_some()
                || somebody
                || execution.head().paused.is_some(),
            "stuck: {:#?}",
            execution
        );
    }
    // Rows and events tell the same story.
    let folded = Execution::fold(
        execution.id().clone(),
        Arc::clone(definition),
        Arc::clone(execution.graph()),
        &run.events,
    )
    .expect("its own events are legal");
    prop_assert_eq!(&folded, execution);
    let rows = Execution::from_rows(
        Arc::clone(definition),
        Arc::clone(execution.graph()),
        execution.head().clone(),
        execution.steps().iter().map(|step| step.as_ref().clone()).enumerate().collect(),
        execution
            .steps()
            .iter()
            .map(|step| step.targets.iter().map(|target| target.as_ref().clone()).collect())
            .enumerate()
            .collect(),
    );
    let machines = machines();
    let world =
        World { now: at(run.seconds), machines: &machines, cancel_wait: Duration::from_secs(60) };
    prop_assert_eq!(next(&rows, world), run.wanted.clone());
    Ok(())
}

proptest! {
    #[test]
    fn random_histories_keep_the_promises(
        steps in workflows(),
        pokes in prop::collection::vec((0_u8..12, any::<u16>()), 0..80),
    ) {
        let mut run = Run::new(steps);
        check_promises(&mut run)?;
        for (choice, pick) in pokes {
            let completed: Vec<usize> = run.execution.steps().iter().enumerate()
                .filter(|(_, step)| step.phase == StepPhase::Completed)
                .map(|(index, _)| index)
                .collect();
            let items = completed_items(&run.execution);
            let events = run.events.len();
            poke(&mut run, choice, pick as usize);
            for index in completed {
                prop_assert_eq!(run.execution.step(index).phase, StepPhase::Completed, "a completed step changed");
            }
            let again = run.events[events..].iter().find(|event| match &event.body {
                EventBody::TargetStarted { step, machine, item: Some(item), .. } => {
                    items.contains(&(step.to_string(), machine.to_string(), *item))
                }
                _ => false,
            });
            // Only a gate that refuses the whole makes items run again that ended well.
            let refused = |step: &caelum_core::id::StepId| run.events.iter().any(|event| {
                matches!(&event.body, EventBody::StepFailed { step: failed, failure, .. }
                    | EventBody::RetryScheduled { step: failed, failure, .. }
                    if failed == step && failure.cause != FailureCause::Action)
            });
            if let Some(Event { body: EventBody::TargetStarted { step, .. }, .. }) = again {
                prop_assert!(refused(step), "an item that ended well ran again: {:?}", again);
            }
            check_promises(&mut run)?;
        }
        // Cancelling reaches the end from everywhere.
        if run.execution.head().end.is_none() {
            if let Some(body) = run.execution.control(&Control::Cancel, "x".into(), String::new())
                .expect("an open execution can be cancelled")
            {
                run.record(body);
            }
            run.wait(120);
            prop_assert_eq!(run.execution.status(), ExecutionStatus::Cancelled);
        }
    }

    #[test]
    fn illegal_events_change_nothing(
        steps in workflows(),
        seq in 0_u64..5,
        attempt in 0_u32..4,
    ) {
        let mut run = Run::new(steps);
        let before = run.execution.clone();
        let bodies = [
            EventBody::Completed,
            EventBody::Resumed { by: "x".into() },
            EventBody::StepCompleted { step: "s0".parse().expect("legal"), attempt, outputs: Map::new() },
            EventBody::GateJudged {
                step: "s1".parse().expect("legal"),
                attempt,
                record: Box::new(GateRecord {
                    gate: Gate {
                        kind: caelum_core::workflow::GateKind::Validation,
                        timing: caelum_core::workflow::GateTiming::After,
                    },
                    validator: validator("after", &[]),
                    verdict: Verdict::broken_down(String::new(), None),
                    subject_digest: Digest::from_bytes(&[0; 32]),
                    probes: vec![],
                    duration_us: 0,
                }),
            },
        ];
        for body in bodies {
            let event = Event { seq: run.execution.head().events + seq, at: at(0), body };
            let legal = run.execution.apply(&event).is_ok();
            if legal { return Ok(()); }
            prop_assert_eq!(&run.execution, &before);
        }
    }
}
