//! Where each of the numbered security tests is, during which of them another client is answered, and which test holds
//! each limit. A test that is renamed or lost is missed here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Number, file (from the root of the repository), and test.
const TESTS: &[(&[u8], &str, &str)] = &[
    (&[1, 75], HOSTILE, "an_infinite_loop_ends_at_the_deadline_and_others_are_served_meanwhile"),
    (&[1, 6, 30], INLINE, "what_cannot_be_done_inline_is_begun_again_and_answered_as_ever"),
    (&[2, 3, 4], HOSTILE, "loops_in_every_other_place_end_too"),
    (&[5], HOSTILE, "a_loop_over_the_whole_memory_ends_too"),
    (&[6], SECURITY, "n6_as_many_loops_as_processors_hold_up_nobody_who_asks_the_host"),
    (&[7], SECURITY, "n7_exponential_work_ends_at_its_deadline"),
    (&[8], SECURITY, "n8_a_loop_of_cheap_calls_of_the_host_ends_at_its_deadline"),
    (&[9], WASI, "waiting_for_a_year_ends_at_the_deadline"),
    (&[10], WASI, "standard_input_is_at_its_end"),
    (&[11], HOSTILE, "a_cancelled_call_ends_long_before_its_deadline"),
    (&[12], HOSTILE, "more_memory_than_allowed_is_told_as_such"),
    (&[13], HOSTILE, "many_small_memories_are_too_many"),
    (&[14], HOSTILE, "a_guest_that_begins_with_too_much_memory_is_refused"),
    (&[15], HOSTILE, "a_table_cannot_grow_without_end"),
    (&[16], SECURITY, "n16_more_instances_or_tables_than_allowed_are_refused"),
    (&[17], LOADING, "features_that_are_off_are_refused_by_the_validator"),
    (&[18], SECURITY, "n18_memory_is_given_back_over_thousands_of_calls"),
    (&[19], HOSTILE, "endless_recursion_and_other_traps_are_told_with_the_function"),
    (
        &[20, 21],
        SECURITY,
        "n20_n21_recursion_with_calls_of_the_host_ends_as_a_trap_and_a_deep_one_that_fits_works",
    ),
    (&[22, 23], HOSTILE, "an_answer_that_is_too_large_is_refused_before_it_is_copied"),
    (&[22], SECURITY, "n22_an_answer_within_the_limit_is_read_and_one_byte_beyond_is_not"),
    (&[24], HOSTILE, "answers_that_cannot_be_read_break_the_contract"),
    (&[25, 29, 30], SDK, "every_misdeed_is_told_in_its_own_words_and_the_next_call_works"),
    (&[26], CALLS, "parameters_are_checked_against_the_schema_before_the_guest_runs"),
    (&[27], SDK, "texts_of_a_plugin_arrive_without_what_deceives"),
    (&[28, 43], SDK, "plans_that_break_the_rules_are_refused_whole"),
    (&[29], CALLS, "a_flood_of_log_lines_is_counted_and_the_first_are_kept"),
    (&[30], CALLS, "reads_have_a_budget_in_calls_and_in_bytes"),
    (&[31], WASI, "a_guest_cannot_collect_handles_without_end"),
    (&[32], WASI, "a_request_for_too_many_random_bytes_is_refused"),
    (&[33], CALLS, "a_panic_in_a_host_function_ends_one_call_and_no_other"),
    (&[34, 35], SECURITY, "n34_n35_a_trap_in_the_middle_leaves_nothing_behind"),
    (&[36], WASI, "an_exit_is_an_error_and_not_the_end_of_the_server"),
    (&[37], SDK, "no_wild_path_gives_anything"),
    (&[37], TARGET, "paths_that_leave_the_root_are_denied"),
    (
        &[38, 40, 41],
        GUEST_TREES,
        "n38_n40_n41_links_pipes_sockets_and_secrets_give_a_guest_nothing",
    ),
    (
        &[38],
        GUEST_TREES,
        "n38_a_directory_that_is_exchanged_for_a_link_during_calls_gives_no_secret",
    ),
    (&[38], TREES, "links_are_shown_and_never_followed"),
    (&[38], APPLYING, "a_directory_swapped_for_a_link_is_not_written_through"),
    (&[40], TREES, "every_wrong_question_has_its_own_answer"),
    (&[39], SECURITY, "n39_a_hard_link_is_the_same_plugin_and_serves_once"),
    (&[41], TARGET, "what_is_withheld_is_not_listed_and_not_read_but_can_be_told_from_nothing"),
    (&[42], TARGET, "entries_beyond_the_budget_are_not_listed"),
    (&[43], TREES, "paths_that_leave_are_refused_before_anything_is_opened"),
    (&[44], APPLYING, "files_that_changed_since_the_plan_are_all_named_and_nothing_is_written"),
    (&[45, 48, 49], LOADING, "what_is_no_component_is_refused_by_its_header"),
    (&[46], LOADING, "a_component_that_is_cut_off_anywhere_is_refused_and_nothing_breaks"),
    (&[47], LOADING, "random_bytes_behind_a_header_are_refused"),
    (&[50, 60], LOADING, "one_bad_file_keeps_no_other_from_serving"),
    (&[51, 52], LOADING, "a_component_of_another_world_is_told_everything_at_once"),
    (&[53], LOADING, "a_component_of_another_track_says_so"),
    (&[54], SECURITY, "n54_exports_beyond_the_contract_are_accepted"),
    (&[55], LOADING, "a_manifest_that_lies_is_refused"),
    (&[55], MANIFEST, "lies_in_the_section_are_refused"),
    (&[55], SECURITY, "n55_a_second_file_with_the_name_of_another_displaces_nothing"),
    (&[42, 56], SECURITY, "n56_n42_a_file_that_is_too_large_is_refused_unread"),
    (&[57], LIVE, "n57_a_half_copied_file_waits_until_it_is_whole"),
    (&[58], LIVE, "n58_a_plugin_that_is_replaced_during_calls_never_fails_one"),
    (&[59], LIVE, "n59_a_file_that_is_deleted_during_a_call_harms_nobody"),
    (&[60], CAPTURE, "a_file_that_others_may_write_is_refused"),
    (
        &[61],
        COMPILER,
        "n61_a_file_that_compiles_too_long_is_killed_at_its_limit_and_others_are_served",
    ),
    (&[61], COMPILER, "n61_a_file_that_compiles_too_long_is_killed_at_its_deadline"),
    (&[62], COMPILER, "n62_a_file_whose_compilation_takes_too_much_memory_is_refused"),
    (&[63], COMPILER, "n63_a_compiler_that_breaks_down_or_is_another_program_is_told"),
    (&[64, 65], COMPILER, "n64_n65_what_the_cache_holds_is_believed_only_as_it_was_put_there"),
    (&[65], RUNTIME, "a_compiler_process_makes_what_every_allocator_can_run"),
    (&[66], TOOLS, "no_tool_changes_what_plugins_may_do"),
    (&[67], SECURITY, "n67_limits_out_of_range_keep_the_host_from_starting"),
    (&[67], LIMITS, "every_limit_out_of_range_is_named_at_once"),
    (&[67], LOCK, "an_unknown_word_is_a_fault_of_its_plugin_alone"),
    (&[68], LIVE, "where_only_pinned_plugins_serve_a_pin_lets_one_in_and_its_loss_takes_it_out"),
    (&[69], NUMBERS, "every_limit_has_a_test_that_holds_it"),
    (&[70], LIVE, "n70_a_plugin_that_fails_three_times_is_kept_out_and_no_other"),
    (&[71], WASI, "what_a_guest_prints_is_in_the_report_and_nowhere_else"),
    (&[72], CALLS, "globals_do_not_survive_a_call"),
    (&[73], SECURITY, "n73_two_plugins_cannot_see_each_other"),
    (&[74], SECURITY, "n74_the_same_call_gives_the_same_answer"),
    (&[74], WASI, "random_numbers_repeat_with_the_call_and_differ_between_calls"),
];

/// Numbers without a test in which another client asks, and why.
const UNWATCHED: &[(u8, &str)] = &[
    (44, "a plan is held against files by a function that runs no plugin and knows no client"),
    (69, "reads the sources"),
];

/// Field of `Limits`, file and the test that fails when its enforcement is taken out.
const HELD: &[(&str, &str, &str)] = &[
    (
        "call_deadline",
        HOSTILE,
        "an_infinite_loop_ends_at_the_deadline_and_others_are_served_meanwhile",
    ),
    ("instantiate_deadline", HOSTILE, "loops_in_every_other_place_end_too"),
    ("describe_deadline", HOSTILE, "loops_in_every_other_place_end_too"),
    ("memory_bytes_max", HOSTILE, "more_memory_than_allowed_is_told_as_such"),
    (
        "inline_memory_bytes_max",
        INLINE,
        "a_call_that_wants_more_memory_than_an_inline_one_may_is_begun_again_elsewhere",
    ),
    ("table_elements_max", HOSTILE, "a_table_cannot_grow_without_end"),
    ("instances_max", SECURITY, "n16_more_instances_or_tables_than_allowed_are_refused"),
    ("memories_max", HOSTILE, "many_small_memories_are_too_many"),
    ("tables_max", SECURITY, "n16_more_instances_or_tables_than_allowed_are_refused"),
    (
        "result_bytes_max",
        SECURITY,
        "n22_an_answer_within_the_limit_is_read_and_one_byte_beyond_is_not",
    ),
    ("plan_edits_max", SDK, "plans_that_break_the_rules_are_refused_whole"),
    ("plan_bytes_max", SDK, "plans_that_break_the_rules_are_refused_whole"),
    ("findings_max", SDK, "every_misdeed_is_told_in_its_own_words_and_the_next_call_works"),
    ("target_calls_max", CALLS, "reads_have_a_budget_in_calls_and_in_bytes"),
    ("target_bytes_max", CALLS, "reads_have_a_budget_in_calls_and_in_bytes"),
    ("target_entries_max", TARGET, "entries_beyond_the_budget_are_not_listed"),
    ("target_read_bytes_max", SDK, "reads_are_bounded_one_by_one_and_together"),
    ("log_lines_max", CALLS, "a_flood_of_log_lines_is_counted_and_the_first_are_kept"),
    ("log_bytes_max", LOG, "the_last_line_that_fits_is_kept_and_the_next_is_counted"),
    ("output_bytes_max", WASI, "what_a_guest_prints_is_in_the_report_and_nowhere_else"),
    ("handles_max", WASI, "a_guest_cannot_collect_handles_without_end"),
    ("random_bytes_max", WASI, "a_request_for_too_many_random_bytes_is_refused"),
    ("component_bytes_max", SECURITY, "n56_n42_a_file_that_is_too_large_is_refused_unread"),
    (
        "calls_per_plugin_max",
        SECURITY,
        "n69_a_plugin_has_only_its_places_and_a_call_waits_only_as_long_as_it_may",
    ),
    ("calls_max", HOSTILE, "a_caller_that_goes_away_leaves_no_call_behind"),
    ("calls_waiting_max", HOSTILE, "more_calls_than_may_wait_are_told_that_the_host_is_busy"),
    (
        "wait_deadline",
        SECURITY,
        "n69_a_plugin_has_only_its_places_and_a_call_waits_only_as_long_as_it_may",
    ),
    (
        "load_deadline",
        COMPILER,
        "calls_wait_for_a_plugin_that_is_being_loaded_and_no_longer_than_they_may",
    ),
    (
        "compile_memory_bytes_max",
        COMPILER,
        "n62_a_file_whose_compilation_takes_too_much_memory_is_refused",
    ),
    (
        "compile_cpu",
        COMPILER,
        "n61_a_file_that_compiles_too_long_is_killed_at_its_limit_and_others_are_served",
    ),
    ("compile_deadline", COMPILER, "n61_a_file_that_compiles_too_long_is_killed_at_its_deadline"),
    (
        "compilers_max",
        COMPILER,
        "a_file_that_compiles_long_holds_up_no_other_and_no_more_compile_than_may",
    ),
    ("strikes_max", LIVE, "n70_a_plugin_that_fails_three_times_is_kept_out_and_no_other"),
    ("strike_window", QUARANTINE, "failures_far_apart_and_other_endings_do_not_count"),
    (
        "quarantine_first",
        QUARANTINE,
        "the_third_failure_in_ten_minutes_keeps_a_plugin_out_and_the_time_doubles",
    ),
    (
        "quarantine_longest",
        QUARANTINE,
        "the_third_failure_in_ten_minutes_keeps_a_plugin_out_and_the_time_doubles",
    ),
];

const HOSTILE: &str = "host/plugins/tests/host/hostile.rs";
const SECURITY: &str = "host/plugins/tests/host/security.rs";
const WASI: &str = "host/plugins/tests/host/wasi.rs";
const LOADING: &str = "host/plugins/tests/host/loading.rs";
const INLINE: &str = "host/plugins/tests/host/inline.rs";
const CALLS: &str = "host/plugins/tests/host/calls.rs";
const SDK: &str = "host/plugins/tests/host/sdk.rs";
const LIVE: &str = "host/plugins/tests/host/live.rs";
const COMPILER: &str = "host/plugins/tests/host/compiler.rs";
const GUEST_TREES: &str = "host/plugins/tests/host/trees.rs";
const NUMBERS: &str = "host/plugins/tests/host/numbers.rs";
const TARGET: &str = "host/plugins/src/target.rs";
const MANIFEST: &str = "host/plugins/src/loader/manifest.rs";
const CAPTURE: &str = "host/plugins/src/loader/capture.rs";
const RUNTIME: &str = "host/plugins/src/runtime.rs";
const LIMITS: &str = "host/plugins/src/limits.rs";
const LOCK: &str = "host/plugins/src/trust/lock.rs";
const LOG: &str = "host/plugins/src/log.rs";
const QUARANTINE: &str = "host/plugins/src/quarantine.rs";
const TREES: &str = "host/components/tests/it/trees.rs";
const APPLYING: &str = "host/components/tests/it/applying.rs";
const TOOLS: &str = "host/server/tests/tools/plugins.rs";

/// How many tests the list of what a trusted host must survive has.
const NUMBERED: u8 = 75;

/// Where the tests are that open a host: all of them do it through `watched.rs`.
const HERE: &str = "host/plugins/tests/host/";

fn source(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn assert_there(file: &str, test: &str) {
    let text = source(file);
    assert!(text.contains(&format!("fn {test}(")), "{file} has no test `{test}`");
}

#[test]
fn every_numbered_test_is_there() {
    let mut numbers = BTreeSet::new();
    for (covers, file, test) in TESTS {
        assert_there(file, test);
        numbers.extend(covers.iter().copied());
    }

    let missing: Vec<u8> = (1..=NUMBERED).filter(|number| !numbers.contains(number)).collect();
    assert_eq!(missing, Vec::<u8>::new());
}

/// "During each of them another client's call is answered": a host is opened in one place only, which starts that client.
#[test]
fn during_every_numbered_test_another_client_asks() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host");
    let mut openings = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        let text = fs::read_to_string(&path).expect("a source file is text");
        let opens = text.matches(concat!("Plugins::", "open(")).count();
        openings.extend((opens > 0).then(|| (path.file_name().map(ToOwned::to_owned), opens)));
    }
    assert_eq!(openings, [(Some("watched.rs".into()), 1)], "open hosts with `Watched::open`");

    let mut watched: BTreeSet<u8> = UNWATCHED.iter().map(|(number, _)| *number).collect();
    for (covers, file, _) in TESTS {
        if *file == NUMBERS {
            continue;
        }
        let is_here = file.starts_with(HERE);
        if is_here || source(file).contains("Bystander::start(") {
            for number in *covers {
                assert!(
                    UNWATCHED.iter().all(|(unwatched, _)| unwatched != number),
                    "{number} is watched: take it from the list"
                );
            }
            watched.extend(covers.iter().copied());
        }
    }
    let missing: Vec<u8> = (1..=NUMBERED).filter(|number| !watched.contains(number)).collect();
    assert_eq!(missing, Vec::<u8>::new());
}

#[test]
fn every_limit_has_a_test_that_holds_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/limits.rs");
    let text = fs::read_to_string(path).expect("reads");
    let (_, fields) = text.split_once("pub struct Limits {").expect("the struct is there");
    let (fields, _) = fields.split_once("\n}\n").expect("it ends");
    let fields: Vec<&str> = fields
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'))
        .map(|(name, _)| name)
        .collect();

    assert_eq!(fields, HELD.iter().map(|(field, ..)| *field).collect::<Vec<_>>());
    for (_, file, test) in HELD {
        assert_there(file, test);
    }
}
