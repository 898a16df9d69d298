//! What there is and what is put aside, as people ask for it: machines, applications with their drift, the archive,
//! reviews of many steps at once.

use crate::harness::Home;

const COMPOSE: &str = "services:\n  db:\n    image: postgres:17\n  web:\n    image: nginx:1.29\n    depends_on: [db]\n";

#[test]
fn machines_are_listed_by_name_and_by_what_a_selection_stands_for() {
    let home = Home::new();

    let plain = home.run(&["machines"]).with(0);
    let chosen = home.run(&["machines", "--select", "label:os=linux", "--json"]).with(0).json();
    let unknown = home.run(&["machines", "--select", "locla"]).with(5);

    assert!(plain.out.starts_with("local ") && plain.out.contains("online"), "{}", plain.out);
    assert_eq!(chosen["machines"][0]["machine"], "local");
    assert!(unknown.err.contains("did you mean `local`?"), "{}", unknown.err);
}

#[test]
fn applications_are_listed_with_what_has_drifted() {
    let home = Home::new();
    home.write("shop/compose.yaml", COMPOSE);
    let empty = home.run(&["applications"]).with(0);
    home.run(&["apply-pattern", "health-check", "--component", "./shop"]).with(0);

    let clean = home.run(&["applications", "--json"]).with(0).json();
    home.write("shop/compose.yaml", COMPOSE);
    let drifted = home.run(&["applications", "--drift", "modified"]).with(0);
    let again = home.run(&["applications", "--drift", "clean"]).with(0);

    assert_eq!(empty.out, "no applications\n");
    assert_eq!(clean["applications"][0]["drift"]["state"], "clean", "{clean:#}");
    assert!(drifted.out.contains("modified compose.yaml"), "{}", drifted.out);
    assert_eq!(again.out, "no applications\n");
}

#[test]
fn a_workflow_is_put_aside_and_taken_back_and_steps_are_reviewed_together() {
    let home = Home::new();
    let steps: Vec<String> = ["a", "b", "c"]
        .iter()
        .map(|id| {
            format!(
                "  - id: {id}\n    type: validation\n    validation: manual-review\n    action: {{kind: command, program: \"true\"}}\n"
            )
        })
        .collect();
    home.write("w.yaml", &format!("workflow_id: w\nsteps:\n{}", steps.concat()));
    let waiting = home.run(&["run", "w.yaml", "--json"]).with(3).json();
    let id = waiting["execution_id"].as_str().expect("an execution").to_owned();

    let archived = home.run(&["archive", "w"]).with(0);
    let refused = home.run(&["run", "w"]).with(2);
    let back = home.run(&["archive", "w", "--restore", "--json"]).with(0).json();
    let nobody = home.run(&["review", &id, "--approve"]).with(2);
    let one = home.run(&["review", &id, "a", "nowhere", "--approve", "--reviewer", "ann"]).with(3);
    let rest = home.run(&["review", &id, "--all", "--approve", "--reviewer", "ann"]).with(0);

    assert!(
        archived.out.contains("w is archived") && archived.out.contains("go on"),
        "{}",
        archived.out
    );
    assert!(refused.err.contains("archived"), "{}", refused.err);
    assert_eq!(back["status"], "active");
    assert!(nobody.err.contains("--wave") || nobody.err.contains("required"), "{}", nobody.err);
    assert!(one.err.contains("not taken: nowhere"), "{}", one.err);
    assert!(rest.out.contains("completed"), "{}", rest.out);
}
