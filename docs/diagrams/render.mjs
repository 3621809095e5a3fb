// Draw every .mmd of this folder as .svg. Only needed when a diagram changes:
//
//   npm install --no-save beautiful-mermaid@1.1.3 && node docs/diagrams/render.mjs
//
// The pictures load nothing and run no script. Each names the digest of its source, so that a
// test finds those that were not drawn again.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { renderMermaidSVG } from "beautiful-mermaid";

const OPTIONS = { font: "sans-serif", transparent: true, layerSpacing: 24, nodeSpacing: 20, padding: 16 };
const COLOURS = `svg { --bg: #ffffff; --fg: #27272a; --muted: #52525b; --accent: #0f766e; }
  @media (prefers-color-scheme: dark) { svg { --bg: #1e2129; --fg: #e4e4e7; --muted: #b4b4bd; --accent: #5eead4; } }
  text { font-family: system-ui, sans-serif; }`;

const folder = fileURLToPath(new URL(".", import.meta.url));
for (const name of readdirSync(folder).filter((file) => file.endsWith(".mmd"))) {
  const source = readFileSync(join(folder, name));
  const digest = createHash("sha256").update(source).digest("hex");
  const drawn = renderMermaidSVG(source.toString(), OPTIONS)
    .replace(/\s*@import [^\n]*/, "")
    .replace(/\s*text \{ font-family[^\n]*/, `\n  ${COLOURS}`)
    .replace(/ style="--bg[^"]*"/, "")
    .replace("<defs>", '<rect width="100%" height="100%" rx="6" fill="var(--bg)"/>\n<defs>');
  writeFileSync(join(folder, name.replace(".mmd", ".svg")), `<!-- sha256 ${digest} -->\n${drawn}\n`);
}
