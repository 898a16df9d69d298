// The steps of an execution as a graph: what depends on what, and where each stands. Laid out by dagre; drawn as SVG
// whose nodes are links, so that they are reached with the keyboard and read aloud.

import { Graph as Layered, layout } from "@dagrejs/dagre";
import type { JSX } from "preact";
import { useMemo } from "preact/hooks";
import { words } from "./format";
import { sign, tone } from "./parts";

export interface Node {
  id: string;
  name: string;
  status: string;
  phase: string;
  dependencies: string[];
}

const HEIGHT = 44;
const MARGIN = 8;
/** Beyond this many steps a drawing explains nothing; the list does. */
const DRAWN_MAX = 300;

/** Width of a node for its text, in pixels; close enough for a proportional font. */
function width(node: Node): number {
  const longest = Math.max(node.name.length, words(node.phase).length + 2);
  return Math.min(Math.max(longest * 7.2 + 24, 96), 260);
}

interface Drawing {
  width: number;
  height: number;
  nodes: { node: Node; x: number; y: number; width: number }[];
  edges: { key: string; path: string }[];
}

function draw(nodes: Node[]): Drawing {
  const graph = new Layered();
  graph.setGraph({ rankdir: "LR", nodesep: 16, ranksep: 36, marginx: MARGIN, marginy: MARGIN });
  graph.setDefaultEdgeLabel(() => ({}));
  const known = new Set(nodes.map((node) => node.id));
  for (const node of nodes) graph.setNode(node.id, { width: width(node), height: HEIGHT });
  for (const node of nodes) {
    for (const before of node.dependencies) if (known.has(before)) graph.setEdge(before, node.id);
  }
  layout(graph);
  const size = graph.graph() as { width?: number; height?: number };
  return {
    width: size.width ?? 0,
    height: size.height ?? 0,
    nodes: nodes.map((node) => {
      const at = graph.node(node.id) as { x: number; y: number; width: number };
      return { node, x: at.x - at.width / 2, y: at.y - HEIGHT / 2, width: at.width };
    }),
    edges: graph.edges().map((edge) => {
      const { points } = graph.edge(edge) as { points: { x: number; y: number }[] };
      const path = points.map((point, index) => `${index ? "L" : "M"}${point.x.toFixed(1)} ${point.y.toFixed(1)}`);
      return { key: `${edge.v} ${edge.w}`, path: path.join("") };
    }),
  };
}

/** Shortens a name to what fits. */
function fitted(text: string, room: number): string {
  const letters = Math.floor((room - 20) / 7.2);
  return text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
}

export function StepGraph({
  nodes,
  chosen,
  href,
}: {
  nodes: Node[];
  chosen: string | undefined;
  href: (id: string) => string;
}): JSX.Element | null {
  const shape = JSON.stringify(nodes.map((node) => [node.id, node.name, node.phase.length, node.dependencies]));
  const drawing = useMemo(() => (nodes.length <= DRAWN_MAX ? draw(nodes) : undefined), [shape]);
  if (!drawing || nodes.length < 2) return null;
  const now = new Map(nodes.map((node) => [node.id, node]));
  return (
    <div class="graph" tabIndex={0} role="region" aria-label="Steps and what they depend on">
      <svg width={drawing.width} height={drawing.height} role="group">
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
            <path d="M0 0L8 4L0 8z" class="tip" />
          </marker>
        </defs>
        {drawing.edges.map((edge) => (
          <path key={edge.key} class="edge" d={edge.path} marker-end="url(#arrow)" />
        ))}
        {drawing.nodes.map(({ node: drawn, x, y, width: room }) => {
          const node = now.get(drawn.id) ?? drawn;
          // A step that waits for somebody counts as running; here it should be seen at once.
          const shown = node.phase.startsWith("awaiting") ? "paused" : node.status;
          return (
            <a
              key={node.id}
              href={href(node.id)}
              aria-label={`Step ${node.name}: ${words(node.phase)}`}
              aria-current={node.id === chosen ? "true" : undefined}
            >
              <g class={`node ${tone(shown)}`} transform={`translate(${x.toFixed(1)} ${y.toFixed(1)})`}>
                <rect width={room} height={HEIGHT} rx="8" />
                <text class="name" x="10" y="18">
                  {fitted(node.name, room)}
                </text>
                <text class="phase" x="10" y="34">
                  {sign(shown)} {words(node.phase)}
                </text>
              </g>
            </a>
          );
        })}
      </svg>
    </div>
  );
}
