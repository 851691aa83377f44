import { err, ok, type Result } from "../result.ts";
import { PULL_EVENTS, PULL_PROVIDERS, PULL_REFS, PULL_REQUEST } from "./pull-request.ts";
import { type Pins, PRESETS, type Provider, type Trust } from "./trust.ts";

/** A trust as an administrator asks for it. */
export interface TrustInput {
  readonly provider: Provider;
  /** `acme/shop`; CircleCI: `<organization id>/<project id>`. */
  readonly project: string;
  readonly issuer: string | null;
  /** By the claim's name. */
  readonly ids: Readonly<Record<string, string>>;
  readonly pinOnFirstUse: boolean;
  /** For Forgejo, whose tokens may have no ids. */
  readonly byName: boolean;
  readonly refs: readonly string[];
  /** Beside the usual ones. */
  readonly events: readonly string[];
  readonly claims: Readonly<Record<string, string>>;
  /** What its tokens are for: a pull request's job gets `preview` and nothing else. */
  readonly action: "deploy" | "preview" | "any";
}

/** The trust, complete: what isn't pinned is refused here, not believed later. */
export function defineTrust(input: TrustInput): Result<Trust, string> {
  const { provider, action } = input;
  const refs = input.refs.length === 0 && action === "preview" ? PULL_REFS : input.refs;
  const preset = PRESETS[provider];
  if (refs.length === 0) return err("name the refs that are trusted, such as `refs/heads/main`");
  const odd = refs.find((ref) => !/^refs\/(heads|tags|pull)\/[\w./*@+-]{1,200}$/.test(ref) && ref !== "**");
  if (odd !== undefined)
    return err(`\`${odd}\` is no whole ref: write \`refs/heads/main\`, \`refs/tags/v*\`, or \`**\` for any`);
  const issuer = issuerOf(input);
  if (!issuer.ok) return issuer;
  const ids = idsOf(input);
  if (!ids.ok) return ids;
  const names = nameOf(input);
  if (!names.ok) return names;
  const { cause, always } = preset;
  const pins = {
    ...ids.value.pins,
    // With its ids known a project may change its name; until then the name is what finds it.
    ...(ids.value.pinOnFirstUse.length > 0 || input.byName ? names.value : {}),
    ...(cause ? { [cause.claim]: [...new Set([...cause.usual, ...input.events])] } : {}),
    ...always,
    ...Object.fromEntries(Object.entries(input.claims).map(([claim, value]) => [claim, [value]])),
    ...(action === "preview" && cause ? { [cause.claim]: [PULL_REQUEST] } : {}),
  };
  const wrong = action === "preview" ? noPreviews(input, refs) : startedByPulls(pins, refs);
  if (wrong !== undefined) return err(wrong);
  return ok({
    provider,
    issuer: issuer.value,
    project: input.project,
    pins,
    refs,
    pinOnFirstUse: ids.value.pinOnFirstUse,
  });
}

/** Whose tokens don't name the pull request could take any other's preview. */
function noPreviews({ provider, events, claims }: TrustInput, refs: readonly string[]): string | undefined {
  if (!PULL_PROVIDERS.includes(provider))
    return `tokens of ${provider} don't say which pull request a job is of: give its jobs \`sluice token create … --action preview\``;
  const { cause } = PRESETS[provider];
  if (events.length > 0 || (cause && Object.hasOwn(claims, cause.claim)))
    return `previews are for jobs that \`${PULL_REQUEST}\` started, and no others: leave the events out`;
  const odd = refs.find((ref) => !ref.startsWith("refs/pull/"));
  return odd === undefined
    ? undefined
    : `\`${odd}\` is no pull request's ref: leave the refs out, or write ${PULL_REFS[0]}`;
}

/** Whoever may open a pull request would deploy. */
function startedByPulls(pins: Pins, refs: readonly string[]): string | undefined {
  const event = Object.values(pins)
    .flat()
    .find((value) => PULL_EVENTS.includes(value));
  const found = event ?? refs.find((ref) => ref.startsWith("refs/pull/"));
  return found === undefined
    ? undefined
    : `\`${found}\`: a job that a pull request starts runs what its author wrote, so it may have a preview and nothing else (\`--action preview\`)`;
}

function issuerOf({ provider, issuer, project }: TrustInput): Result<string, string> {
  if (provider === "circleci") {
    const [organization = ""] = project.split("/");
    return /^[\da-f-]{36}$/i.test(organization)
      ? ok(issuer ?? `https://oidc.circleci.com/org/${organization}`)
      : err(
          "a project of CircleCI's is named `<organization id>/<project id>`, both as its settings show them",
        );
  }
  const found = issuer ?? PRESETS[provider].issuer;
  if (found !== null) return ok(found.replace(/\/+$/, ""));
  return err("each Forgejo has its own issuer: give it, `https://<instance>/api/actions`");
}

interface Ids {
  readonly pins: Readonly<Record<string, readonly string[]>>;
  readonly pinOnFirstUse: readonly string[];
}

function idsOf(input: TrustInput): Result<Ids, string> {
  const { ids } = PRESETS[input.provider];
  const given: Readonly<Record<string, string>> =
    input.provider === "circleci" ? { [ids[0] ?? ""]: input.project.split("/")[1] ?? "" } : input.ids;
  const unknown = Object.keys(given).find((claim) => !ids.includes(claim));
  if (unknown !== undefined)
    return err(`tokens of ${input.provider} have no id \`${unknown}\`: ${ids.join(", ")}`);
  const bad = Object.entries(given).find(([, id]) => !/^[\w-]{1,64}$/.test(id));
  if (bad) return err(`\`${bad[1]}\` is not an id of ${bad[0]}`);
  const pins = Object.fromEntries(Object.entries(given).map(([claim, id]) => [claim, [id]]));
  const missing = ids.filter((claim) => given[claim] === undefined);
  if (missing.length === 0) return ok({ pins, pinOnFirstUse: [] });
  if (input.byName && input.provider === "forgejo") return ok({ pins, pinOnFirstUse: [] });
  if (input.pinOnFirstUse) return ok({ pins, pinOnFirstUse: missing });
  return err(
    `a name can change hands, so ${missing.join(" and ")} must be pinned: give ${missing.length > 1 ? "them" : "it"}, or say that the first token to fit may pin ${missing.length > 1 ? "them" : "it"}`,
  );
}

/** GitLab's groups lie in each other; everywhere else a name has two parts. */
function nameOf({ provider, project }: TrustInput): Result<Record<string, string[]>, string> {
  const { name } = PRESETS[provider];
  if (name.length === 0) return ok({});
  const parts = project.split("/");
  const isName = parts.every((part) => /^[\w.-]{1,100}$/.test(part)) && parts.length >= 2;
  if (!isName || (parts.length > 2 && provider !== "gitlab"))
    return err(`\`${project}\` is no project of ${provider}'s: write it as \`acme/shop\``);
  const [first = ""] = name;
  if (name.length === 1) return ok({ [first]: [project] });
  return ok(Object.fromEntries(name.map((claim, at) => [claim, [parts[at] ?? ""]])));
}
