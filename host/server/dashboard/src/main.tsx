// The dashboard: a page of the server that watches what it does, and lets people answer what it waits for.

import { render } from "preact";
import type { JSX } from "preact";
import "./style.css";
import { callBy } from "./call";
import { overHttp } from "./http";
import { useConnection } from "./live";
import { Application } from "./pages/application";
import { Applications } from "./pages/applications";
import { Apply } from "./pages/apply";
import { Execution } from "./pages/execution";
import { Executions } from "./pages/executions";
import { Health } from "./pages/health";
import { Metrics } from "./pages/metrics";
import { Plugins } from "./pages/plugins";
import { Workflows } from "./pages/workflows";
import { Empty } from "./parts";
import { link, useRoute } from "./route";

const PAGES: [string, string][] = [
  ["executions", "Executions"],
  ["workflows", "Workflows"],
  ["applications", "Applications"],
  ["plugins", "Plugins"],
  ["metrics", "Metrics"],
  ["health", "Health"],
];

function Page(): JSX.Element {
  const { path, query } = useRoute();
  const [page, id] = path;
  if (page === "executions" && id) return <Execution key={id} id={id} query={query} />;
  if (page === "executions") return <Executions query={query} />;
  if (page === "workflows") return <Workflows />;
  if (page === "plugins") return <Plugins />;
  if (page === "applications" && id) return <Application key={id} id={id} />;
  if (page === "applications") return <Applications query={query} />;
  if (page === "apply") return <Apply key={query.toString()} query={query} />;
  if (page === "metrics") return <Metrics query={query} />;
  if (page === "health") return <Health />;
  return (
    <Empty>
      There is no such page. <a href={link(["executions"])}>Executions</a>
    </Empty>
  );
}

const CONNECTIONS = { connecting: "connecting…", live: "live", lost: "connection lost, trying again…" };

function Dashboard(): JSX.Element {
  const { path } = useRoute();
  const connection = useConnection();
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => {
        event.preventDefault();
        document.getElementById("content")?.focus();
      }}>
        Skip to the content
      </a>
      <header class="top">
        <span class="brand">Caelum workflow</span>
        <nav aria-label="Pages">
          {PAGES.map(([page, label]) => (
            <a href={link([page])} aria-current={path[0] === page || (path[0] === "apply" && page === "applications") ? "page" : undefined}>
              {label}
            </a>
          ))}
        </nav>
        <span class={`connection ${connection}`} role="status">
          {CONNECTIONS[connection]}
        </span>
      </header>
      <main id="content" tabIndex={-1}>
        <Page />
      </main>
    </>
  );
}

callBy(overHttp);
const root = document.getElementById("dashboard");
if (root) render(<Dashboard />, root);
