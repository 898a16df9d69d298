// Builds what the server embeds: the dashboard as one script and one style sheet, the view for other people's windows as
// one page that holds everything, and the licences of what is inside them. The same sources give the same bytes.

import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const options = {
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
};

await build({ ...options, entryPoints: ["src/main.tsx"], outfile: "dist/dashboard.js" });

const { outputFiles } = await build({
  ...options,
  entryPoints: ["src/app.tsx"],
  outfile: "execution.js",
  write: false,
});
const text = (ending) => outputFiles.find((file) => file.path.endsWith(ending)).text.trim();
// Neither text may end the element that it stands in.
const script = text(".js").replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
const style = text(".css").replaceAll("</style", "<\\/style");
writeFileSync(
  "dist/execution.html",
  `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Execution</title>
<style>${style}</style>
</head>
<body>
<div id="execution"></div>
<script type="module">${script}</script>
</body>
</html>
`,
);

const inside = Object.keys(JSON.parse(readFileSync("package.json", "utf8")).dependencies);
const licences = inside.map((name) => {
  const { version } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  return `${name} ${version}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}\n`;
});
writeFileSync("dist/LICENSES.txt", licences.join(`\n${"-".repeat(40)}\n\n`));
