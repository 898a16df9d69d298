// The answers of the server's tools, as far as the dashboard shows them. The tools' output schemas are the contract.

export interface NextCall {
  tool: string;
  arguments: Record<string, unknown>;
}

export interface ExecutionRow {
  execution_id: string;
  workflow_id: string;
  revision: number;
  status: string;
  started_at: string;
  ended_at?: string;
  done: number;
  total: number;
}

export interface ExecutionList {
  executions: ExecutionRow[];
  next_cursor?: string;
}

export interface Reason {
  code: string;
  message: string;
  place?: string;
}

export interface Probe {
  name: string;
  kind: string;
  machine: string;
  ok: boolean;
  answer: string;
}

export interface Gate {
  gate: string;
  timing: string;
  validator: string;
  version: string;
  verdict: string;
  summary: string;
  reasons?: Reason[];
  reasons_omitted?: number;
  probes?: Probe[];
  host_reason?: string;
  duration_us: number;
}

export interface Tail {
  text: string;
  total_bytes: number;
  truncated: boolean;
}

export interface OnMachine {
  machine: string;
  status: string;
  deliveries: number;
  exit_code?: number;
  signal?: number;
  duration_ms?: number;
  stdout?: Tail;
  stderr?: Tail;
  collected?: string[];
  failure?: string;
}

export interface Failure {
  cause: string;
  code: string;
  message: string;
  hint?: string;
  machine?: string;
}

export interface Review {
  reviewer: string;
  decision: string;
  reason: string;
  at: string;
}

export interface StepRow {
  id: string;
  name: string;
  status: string;
  phase: string;
  action: string;
  dependencies?: string[];
  attempt: number;
  started_at?: string;
  ended_at?: string;
  duration_ms?: number;
  gates?: Gate[];
  machines?: OnMachine[];
  machines_omitted?: number;
  outputs?: Record<string, unknown>;
  failure?: Failure;
  reviews?: Review[];
  performer?: string;
  report?: string;
  child_execution_id?: string;
}

export interface Waiting {
  step_id: string;
  /** The execution whose step it is, when it is not the one that is shown. */
  execution_id?: string;
  /** `work`, `review` or `decision`. */
  kind: string;
  who: string;
  instructions: string;
  gate?: string;
  review?: { approvals_given: number; approvals_needed?: number };
  deadline?: string;
  next_call: NextCall;
}

export interface ExecutionStatus {
  execution_id: string;
  workflow_id: string;
  revision: number;
  status: string;
  started_at: string;
  ended_at?: string;
  started_by: string;
  parameters: Record<string, unknown>;
  progress: { done: number; total: number; percent: number };
  estimated_completion?: string;
  parent?: { execution_id: string; step_id: string };
  paused_by?: string;
  cancelled_by?: string;
  waiting_for?: Waiting[];
  waiting_omitted?: number;
  steps_omitted?: number;
  failure?: { step_id: string; attempt: number; failure: Failure; steps_not_run: number };
  steps: StepRow[];
  event_count: number;
}

/** What `execute_workflow` answers, as far as it is not the execution itself. */
export interface ExecutionStarted {
  execution_id?: string;
  workflow_id: string;
  revision: number;
  status: string;
  plan?: { id: string; action: string; wave: number; machines: string[]; gates: string[] }[];
  problems?: string[];
}

export interface WorkflowRow {
  workflow_id: string;
  name: string;
  description: string;
  pattern: string;
  revision: number;
  status: string;
  steps: number;
  updated_at: string;
  last_execution?: { execution_id: string; status: string; started_at: string };
}

export interface WorkflowList {
  workflows: WorkflowRow[];
  next_cursor?: string;
}

export interface Plugin {
  name: string;
  kind: string;
  version: string;
  title: string;
  summary: string;
  digest: string;
  source: string;
  parameters_schema: { properties?: Record<string, ParameterSchema>; required?: string[] };
  rules?: { id: string; title: string; severity: string; fixable: boolean }[];
}

/** What one parameter of a pattern may be, as far as a form can show it. */
export interface ParameterSchema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  oneOf?: ParameterSchema[];
  anyOf?: ParameterSchema[];
  items?: ParameterSchema;
  minimum?: number;
  maximum?: number;
}

export interface Refused {
  source: string;
  stage: string;
  reason: string;
  hint?: string;
}

export interface PluginList {
  patterns: Plugin[];
  validators?: Plugin[];
  refused?: Refused[];
}

export interface Application {
  application_id: string;
  pattern_name: string;
  pattern_version: string;
  target_component: string;
  status: string;
  applied_at: string;
  applied_by: string;
  summary: string;
  changed_files: string[];
  changed_files_total: number;
  directory: string;
  drift?: { state: string; installed_version?: string; files: { path: string; state: string; ownership: string }[] };
  drift_problem?: string;
  superseded: boolean;
  plan_id?: string;
  execution_id?: string;
  step_id?: string;
}

export interface Finding {
  rule: string;
  severity: string;
  message: string;
  place?: string;
  remediation?: string;
  fingerprint: string;
}

/** Everything that is kept of one application. */
export interface ApplicationDetails {
  application_id: string;
  status: string;
  parameters: Record<string, unknown>;
  results: {
    summary: string;
    diff: string;
    diff_truncated: boolean;
    changed_files: string[];
    withheld: { path: string; rationale: string }[];
    findings_before: Finding[];
    findings_before_total: number;
    findings_after: Finding[];
    findings_after_total: number;
  };
  validation_results: string[];
  next_steps: { id: string; title: string; instructions: string; blocking: boolean }[];
  plan_id?: string;
}

export interface ApplicationList {
  applications: Application[];
  details?: ApplicationDetails;
  next_cursor?: string;
}

export interface Machine {
  machine: string;
  aliases: string[];
  labels: Record<string, string>;
  status: string;
  running: number;
  waiting: number;
  capacity: number;
}

export interface Health {
  status: string;
  reasons: string[];
  version: string;
  uptime_s: number;
  store: { database_bytes: number; wal_bytes: number; executions: Record<string, number>; queued: number };
  plugins: { refused: unknown[] };
  machines: Machine[];
  queues: Record<string, number>;
  stuck: Record<string, string>;
}

export interface Metrics {
  time_range: string;
  since?: string;
  until: string;
  executions: { started: number; ended: Record<string, number>; success_rate?: number };
  durations: {
    scope: string;
    name: string;
    count: number;
    p50_ms: number;
    p95_ms: number;
    p99_ms: number;
    max_ms: number;
  }[];
  gates: { validator: string; gate: string; verdict: string; reason: string; count: number }[];
  failures: { subject: string; reason: string; count: number }[];
  retries_total: number;
  compliance?: { at: string; pattern: string; compliant: number; components: number; rate: number }[];
  history?: HistoryPart[];
}

/** What happened in one part of a span of time. */
export interface HistoryPart {
  at: string;
  seconds: number;
  ended: Record<string, number>;
  p50_ms?: number;
  p95_ms?: number;
  verdicts: Record<string, number>;
}
