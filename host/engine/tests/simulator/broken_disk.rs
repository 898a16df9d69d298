//! A disk that fails from outside: somebody else holds the database, or fills it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rusqlite::Connection;

/// Keeps everybody else from writing for as long as it lives, as a failing disk would; reading goes on.
pub(crate) struct Held(Connection);

/// Opens the database beside the engine.
fn beside(data: &Path) -> Connection {
    let connection = Connection::open(data.join("caelum.db")).expect("the database opens");
    connection.busy_timeout(crate::life::LIMIT).expect("set");
    connection
}

impl Held {
    pub(crate) fn new(data: &Path) -> Self {
        let connection = beside(data);
        connection.execute_batch("BEGIN IMMEDIATE").expect("the writer lets others in");
        Held(connection)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The connection ends the transaction by itself when this fails.
        let _ = self.0.execute_batch("ROLLBACK");
    }
}

/// Lets writing fail for some milliseconds again and again.
pub(crate) async fn fail_now_and_then(data: PathBuf, mut rng: SmallRng) {
    loop {
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..20))).await;
        let held = Held::new(&data);
        tokio::time::sleep(Duration::from_millis(rng.random_range(1..12))).await;
        drop(held);
    }
}

/// Fills the database up to `bytes`, so that a store that may not be larger has no room left.
pub(crate) fn fill(data: &Path, bytes: i64) {
    let connection = beside(data);
    let page: i64 =
        connection.pragma_query_value(None, "page_size", |row| row.get(0)).expect("a number");
    connection
        .pragma_update_and_check(None, "max_page_count", bytes / page, |_| Ok(()))
        .expect("set");
    connection.execute_batch("CREATE TABLE ballast (text BLOB)").expect("created");
    let insert = "INSERT INTO ballast VALUES (zeroblob(2000))";
    while connection.execute_batch(insert).is_ok() {}
}

/// Takes away what [`fill`] put there.
pub(crate) fn make_room(data: &Path) {
    beside(data).execute_batch("DROP TABLE ballast").expect("dropped");
}

/// Takes an execution out of the database, as retention does.
pub(crate) fn take_away(data: &Path, id: &str) {
    let connection = beside(data);
    connection.pragma_update(None, "foreign_keys", false).expect("set");
    for table in ["event", "step", "target"] {
        let rows = format!(
            "DELETE FROM {table} WHERE execution = (SELECT key FROM execution WHERE id = ?1)"
        );
        connection.execute(&rows, [id]).expect("deleted");
    }
    connection.execute("DELETE FROM execution WHERE id = ?1", [id]).expect("deleted");
}
