// Bundles the browser pages: the demo into the Python package, the tests' page beside its source.
import { build } from "esbuild";
import { cp, mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const pages = [
  { source: "web/demo", entries: ["main", "whep"], target: "src/rtcloud/gateway/static/demo", minify: true },
  { source: "tests/page", entries: ["main", "source-worker"], target: "tests/page/dist", minify: false },
];

for (const { source, entries, target, minify } of pages) {
  await rm(root + target, { recursive: true, force: true });
  await mkdir(root + target, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: entries.map((name) => `${source}/src/${name}.ts`),
    outdir: target,
    bundle: true,
    format: "esm",
    target: "es2022",
    minify,
    sourcemap: minify ? false : "inline",
    legalComments: "none",
    logLevel: "warning",
  });
  await cp(`${root}${source}/public`, root + target, { recursive: true });
}
