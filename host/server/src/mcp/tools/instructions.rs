//! What a model reads about the server as a whole: only what the offered tools can do.

use super::super::groups::{Group, Groups};

const OPENING: &str = "\
Caelum workflow orchestration: workflows whose quality gates are real. A step is done when a validator has judged its \
evidence, not when somebody says so; an improvement pattern inspects a component and proposes an exact, reversible change.";

const WORKFLOWS: &str = "\
The usual way:
1. list_validators and list_patterns show validators and patterns; names in a workflow must be among them.
2. create_workflow keeps a definition; every fault of it is named at once. update_workflow changes it, archive_workflow \
puts it aside.
3. execute_workflow starts it and answers an execution_id at once.
4. get_workflow_status with wait_s: 30 and wait_until: \"settled\" waits until it ends or needs somebody. `waiting_for` \
says who must do what until when and gives the exact next call: complete_step for work, review_step for reviews (one step, \
a wave, or all at once). `failure` says what \
went wrong, root cause first. Do not poll faster than poll_after_ms.
5. control_execution pauses, resumes, cancels or retries; export_workflow_data keeps the record.";

const PATTERNS: &str = "\
Patterns by themselves: validate_pattern_application looks, apply_pattern with dry_run: true shows the diff and gives a \
plan_id, apply_pattern with that plan_id applies exactly it, revert_pattern_application takes it back. \
list_pattern_applications shows what has drifted since.";

const TASKS: &str = "\
Commands on machines: list_machines, distribute_task, then get_task_status, then aggregate_task_results; cancel_task ends \
them.";

const MONITORING: &str = "When something is odd: get_system_health.";

const CLOSING: &str = "Every error says what was wrong, what would be right, and the next call.";

/// Returns the text for a server that offers these groups.
pub fn instructions(groups: &Groups) -> String {
    let mut text = String::from(OPENING);
    let mut line = "\n\n";
    for (group, words) in
        [(Group::Workflows, WORKFLOWS), (Group::Patterns, PATTERNS), (Group::Tasks, TASKS)]
    {
        if groups.has(group) {
            text.push_str(line);
            text.push_str(words);
            line = if group == Group::Workflows { "\n\n" } else { "\n" };
        }
    }
    text.push_str(line);
    if groups.has(Group::Monitoring) {
        text.push_str(MONITORING);
        text.push(' ');
    }
    text.push_str(CLOSING);
    if !groups.is_all() {
        text.push_str("\nThis server offers only the toolsets ");
        text.push_str(&groups.names().join(", "));
        text.push_str("; tools named here that are not in its list are not offered.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_offered_is_explained() {
        let tasks = Groups::parse(["tasks"]).unwrap();

        let (some, all) = (instructions(&tasks), instructions(&Groups::all()));

        assert!(some.contains("distribute_task") && some.contains("only the toolsets tasks"));
        assert!(!some.contains("create_workflow") && !some.contains("apply_pattern"), "{some}");
        assert!(all.contains("create_workflow") && all.contains("get_system_health"));
        assert!(!all.contains("toolsets"), "{all}");
    }
}
