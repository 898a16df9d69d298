//! Makes the cases: calls with arguments that do not fit, messages with envelopes that do not, bytes that are none.

use caelum_tests::Era;
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::judge::Judge;
use crate::link::meta;
use crate::values::{any, bend, damage, fitting, one_of};

/// Arguments that make a call wait or work for long; what the server does with time is tested elsewhere.
const PATIENT: [&str; 2] = ["wait_s", "time_range"];

/// Makes one case after the other.
pub(crate) struct Cases {
    random: ChaCha8Rng,
    tools: Vec<Value>,
    era: Era,
    made: u64,
}

impl Cases {
    pub(crate) fn new(random: ChaCha8Rng, tools: Vec<Value>, era: Era) -> Self {
        Self { random, tools, era, made: 0 }
    }

    /// Returns the bytes of the next message.
    pub(crate) fn next(&mut self, judge: &Judge) -> Vec<u8> {
        loop {
            self.made += 1;
            let case = match self.random.random_range(0..10) {
                0..5 => self.call(),
                5..7 => self.request(),
                7..9 => self.bent(),
                _ => self.damaged(),
            };
            // What a case may do beside being refused is nothing that lasts: it is made anew until that is so.
            let parsed = serde_json::from_slice::<Value>(&case).unwrap_or_default();
            let params = &parsed["params"];
            let tool = params["name"].as_str().unwrap_or_default();
            let nothing = json!({});
            let arguments = params.get("arguments").unwrap_or(&nothing);
            let waits = PATIENT.iter().any(|name| arguments.get(name).is_some());
            if parsed["method"] != "tools/call" || (judge.is_harmless(tool, arguments) && !waits) {
                return case;
            }
        }
    }

    fn message(&mut self, method: &str, mut params: Value) -> Value {
        if self.era == Era::Stateless && params.is_object() {
            params["_meta"] = meta();
        }
        json!({"jsonrpc": "2.0", "id": self.made, "method": method, "params": params})
    }

    /// A call of a tool whose arguments are bent.
    fn call(&mut self) -> Vec<u8> {
        let tool = one_of(&mut self.random, &self.tools).clone();
        let mut arguments = fitting(&mut self.random, &tool["inputSchema"]);
        for _ in 0..self.random.random_range(1..3) {
            bend(&mut self.random, &mut arguments);
        }
        let params = json!({"name": tool["name"], "arguments": arguments});
        self.message("tools/call", params).to_string().into_bytes()
    }

    /// A request with params that may be anything.
    fn request(&mut self) -> Vec<u8> {
        const METHODS: [&str; 16] = [
            "tools/list",
            "tools/call",
            "prompts/list",
            "prompts/get",
            "resources/list",
            "resources/read",
            "resources/templates/list",
            "resources/unsubscribe",
            "completion/complete",
            "tasks/get",
            "tasks/cancel",
            "tasks/update",
            "server/discover",
            "logging/setLevel",
            "ping",
            "no/such/method",
        ];
        const MEMBERS: [&str; 9] = [
            "name",
            "uri",
            "cursor",
            "taskId",
            "ref",
            "argument",
            "arguments",
            "inputResponses",
            "requestState",
        ];
        let method = *one_of(&mut self.random, &METHODS);
        let mut params = json!({});
        for _ in 0..self.random.random_range(0..3) {
            params[*one_of(&mut self.random, &MEMBERS)] = any(&mut self.random);
        }
        if self.random.random_bool(0.1) {
            params = any(&mut self.random);
        }
        self.message(method, params).to_string().into_bytes()
    }

    /// A message whose envelope is bent.
    fn bent(&mut self) -> Vec<u8> {
        let params = json!({"name": "list_machines", "arguments": {}});
        let mut message = self.message("tools/call", params);
        match self.random.random_range(0..8) {
            0 => message["jsonrpc"] = any(&mut self.random),
            1 => message["id"] = any(&mut self.random),
            2 => message["method"] = any(&mut self.random),
            3 => message["params"] = any(&mut self.random),
            4 => message["params"]["_meta"] = any(&mut self.random),
            5 => message["result"] = any(&mut self.random),
            6 => message = any(&mut self.random),
            _ => bend(&mut self.random, &mut message),
        }
        message.to_string().into_bytes()
    }

    /// Bytes that were a message.
    fn damaged(&mut self) -> Vec<u8> {
        let params = json!({"name": "list_machines", "arguments": {}});
        let mut bytes = self.message("tools/call", params).to_string().into_bytes();
        damage(&mut self.random, &mut bytes);
        bytes
    }
}
