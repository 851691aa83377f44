/**
 * `npm run check:client -- <control's URL>`: types of a client, made from the API's description by a generator that is none of ours, and a program
 * over them, compile under strict. The generator needs a TypeScript of its own, so it is fetched when this is asked for.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = "dist/generated-client";
const GENERATOR = ["-p", "openapi-typescript@7.13.0", "-p", "typescript@5.9.3"];
const PROGRAM = `
import type { components, operations, paths } from "./api.ts";
type Create = NonNullable<operations["postAppEnvReleases"]["requestBody"]>["content"]["application/json"];
type Release = components["schemas"]["Release"];
// What has a default need not be said, and what is answered is there.
export const least: Create = {};
export const whole: Create = { image: "ghcr.io/acme/shop:1", version: "v1", whenBusy: "queue" };
export const stateOf = ({ state, version, failure }: Release): string => \`\${version} \${state} \${failure?.message ?? ""}\`;
export type Accepted = paths["/api/v1/apps/{app}/envs/{env}/releases"]["post"]["responses"][202]["content"]["application/json"];
export const idOf = (accepted: Accepted): string => accepted.id;
`;

const control = process.argv[2] ?? process.env.SLUICE_URL ?? "http://127.0.0.1:8787";
mkdirSync(FOLDER, { recursive: true });
const described = join(FOLDER, "openapi.json");
writeFileSync(described, await (await fetch(`${control}/api/openapi.json`)).text());
writeFileSync(join(FOLDER, "program.ts"), PROGRAM);
const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: "inherit" });
run("npx", "--yes", ...GENERATOR, "openapi-typescript", described, "-o", join(FOLDER, "api.ts"));
const flags = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--skipLibCheck", "false"];
const modules = ["--module", "nodenext", "--allowImportingTsExtensions", "--types", "", "--ignoreConfig"];
run("npx", "tsc", ...flags, ...modules, join(FOLDER, "program.ts"));
