// SPDX-License-Identifier: Apache-2.0
// Builds the report's script and style. Usage: node build.mjs [FOLDER]
// The folder is by default where the Python package has them. The types of the documents follow from
// their published schemas.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { compile } from "json-schema-to-typescript";

const here = dirname(fileURLToPath(import.meta.url));
const report = join(here, "../src/sgxlens/report");

export async function writeTypes() {
  const folder = join(here, "generated");
  await mkdir(folder, { recursive: true });
  for (const name of ["show", "predict", "compare", "advise"]) {
    const schema = JSON.parse(await readFile(join(report, `schema/${name}.schema.json`), "utf8"));
    const types = await compile(schema, schema.title, { additionalProperties: false, format: false });
    await writeFile(join(folder, `${name}.d.ts`), types);
  }
}

if (process.argv[2] === "--types") {
  await writeTypes();
} else {
  await build({
    absWorkingDir: here,
    entryPoints: { report: "src/main.tsx" },
    bundle: true,
    minify: true,
    legalComments: "eof",
    charset: "ascii",
    target: ["chrome123", "firefox120", "safari17.5"],
    format: "iife",
    outdir: process.argv[2] ?? join(report, "web"),
    logLevel: "warning",
  });
}
