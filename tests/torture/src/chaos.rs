//! Kills and freezes at random moments: the server while it starts, works or stops, and effects.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rustix::process::Signal;

use crate::processes;
use crate::world::{World, count};

/// Torments the server until somebody says that it is enough; leaves a life behind that is well.
pub(crate) fn torment(world: &Arc<World>, mut rng: ChaCha8Rng, enough: &Receiver<()>) {
    loop {
        // Half of the lives are short, and some end before they listen.
        let ms = if rng.random_bool(0.4) {
            rng.random_range(0..400)
        } else {
            rng.random_range(400..3_000)
        };
        match enough.recv_timeout(Duration::from_millis(ms)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
        match rng.random_range(0..100) {
            0..60 => kill(world),
            60..80 => freeze(world, &mut rng),
            80..90 => freeze_effect(world, &mut rng),
            90..95 => {
                // Killed while it stands still: nothing that it had begun goes on for a moment.
                freeze_for(world, Duration::from_millis(rng.random_range(1..300)), false);
                kill(world);
            }
            _ => {
                world.server.stop();
                count(&world.figures.stops);
                world.server.start();
            }
        }
    }
}

fn kill(world: &Arc<World>) {
    if !world.server.listens() {
        count(&world.figures.kills_at_start);
    }
    world.server.kill();
    count(&world.figures.kills);
    world.server.start();
}

fn freeze(world: &World, rng: &mut ChaCha8Rng) {
    freeze_for(world, Duration::from_millis(rng.random_range(1..1_500)), true);
}

fn freeze_for(world: &World, span: Duration, thaws: bool) {
    world.server.signal(Signal::STOP);
    count(&world.figures.freezes);
    std::thread::sleep(span);
    if thaws {
        world.server.signal(Signal::CONT);
    }
}

fn freeze_effect(world: &World, rng: &mut ChaCha8Rng) {
    let effects = processes::effects(&world.run);
    if effects.is_empty() {
        return;
    }
    let pid = effects[rng.random_range(0..effects.len())];
    processes::signal(pid, Signal::STOP);
    count(&world.figures.frozen_effects);
    std::thread::sleep(Duration::from_millis(rng.random_range(1..800)));
    processes::signal(pid, Signal::CONT);
}
