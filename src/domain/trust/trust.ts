import { type Claims, type Provider, stringOf } from "./claims.ts";
import { PULL_EVENTS } from "./pull-request.ts";

/** A claim's allowed values, by the claim's name; a boolean's or number's is its text. */
export type Pins = Readonly<Record<string, readonly string[]>>;

/** Whom control believes without a stored secret: the jobs of one CI project, from some refs. */
export interface Trust {
  readonly provider: Provider;
  /** As tokens have it in `iss`, exactly. */
  readonly issuer: string;
  /** The project as people write it: `acme/shop`. A name can change hands, so it is never all that counts. */
  readonly project: string;
  /** Every one must be in the token, with one of its values. */
  readonly pins: Pins;
  /** `refs/heads/main`; `*` stands for anything within one part, `**` for anything. */
  readonly refs: readonly string[];
  /** Ids that the first token to fit writes into `pins`. Empty: they are pinned. */
  readonly pinOnFirstUse: readonly string[];
  /** What its tokens are for. */
  readonly action?: "deploy" | "preview" | null;
}

export type { Claims, Provider };

export interface Mismatch {
  readonly claim: string;
  readonly wanted: string;
  /** Null: the token has no such claim. */
  readonly got: string | null;
}

const CIRCLECI = "oidc.circleci.com";

interface Preset {
  /** Null: each instance or organisation has its own. */
  readonly issuer: string | null;
  /** Claims that hold ids: they stay when a name changes hands. */
  readonly ids: readonly string[];
  /** The claim, or the claims, that hold the project's name. Empty: ids are all there is. */
  readonly name: readonly string[];
  /** What tells a push from a pull request, and the values that are not a stranger's to cause. */
  readonly cause: { readonly claim: string; readonly usual: readonly string[] } | null;
  /** Always wanted, unless the trust says otherwise. */
  readonly always: Pins;
  ref(claims: Claims): string | null;
  /** Where a person can look at the job. */
  run(claims: Claims): string | null;
}

const GIT_REF = (claims: Claims) => stringOf(claims.ref);
const ACTIONS_CAUSES = {
  claim: "event_name",
  usual: ["push", "workflow_dispatch", "schedule", "release"],
};

/**
 * What each CI system's tokens say, by its own documentation (GitHub "OpenID Connect reference", GitLab "ID token
 * authentication", Buildkite "OIDC", CircleCI "OpenID Connect tokens", Forgejo 15). `sub` is never read: its form is the
 * repository's to change.
 */
export const PRESETS: Readonly<Record<Provider, Preset>> = {
  github: {
    issuer: "https://token.actions.githubusercontent.com",
    ids: ["repository_id", "repository_owner_id"],
    name: ["repository"],
    cause: ACTIONS_CAUSES,
    always: {},
    ref: GIT_REF,
    run: ({ iss, repository, run_id }) =>
      link(`${serverOf(iss)}/${stringOf(repository)}/actions/runs/`, run_id),
  },
  forgejo: {
    issuer: null,
    ids: ["repository_id", "repository_owner_id"],
    name: ["repository"],
    cause: ACTIONS_CAUSES,
    always: {},
    ref: GIT_REF,
    run: ({ iss, repository, run_number }) =>
      link(
        `${stringOf(iss)?.replace(/\/api\/actions$/, "")}/${stringOf(repository)}/actions/runs/`,
        run_number,
      ),
  },
  gitlab: {
    issuer: "https://gitlab.com",
    ids: ["project_id", "namespace_id"],
    name: ["project_path"],
    cause: { claim: "pipeline_source", usual: ["push", "web", "schedule", "api", "trigger", "pipeline"] },
    always: { ref_protected: ["true"] },
    ref: ({ ref, ref_type }) => gitRef(ref, ref_type === "tag", ref_type === "branch"),
    run: ({ iss, project_path, job_id }) =>
      link(`${stringOf(iss)}/${stringOf(project_path)}/-/jobs/`, job_id),
  },
  buildkite: {
    issuer: "https://agent.buildkite.com",
    ids: ["organization_id", "pipeline_id"],
    name: ["organization_slug", "pipeline_slug"],
    cause: null,
    always: {},
    // A tag's build has the tag's name as its branch, too.
    ref: ({ build_branch, build_tag }) =>
      stringOf(build_tag) ? gitRef(build_tag, true, false) : gitRef(build_branch, false, true),
    run: ({ organization_slug, pipeline_slug, build_number }) =>
      link(
        `https://buildkite.com/${stringOf(organization_slug)}/${stringOf(pipeline_slug)}/builds/`,
        build_number,
      ),
  },
  circleci: {
    issuer: null,
    ids: [`${CIRCLECI}/project-id`],
    name: [],
    cause: null,
    // Somebody is on the machine by SSH, and may read the token.
    always: { [`${CIRCLECI}/ssh-rerun`]: ["false"] },
    ref: (claims) => stringOf(claims[`${CIRCLECI}/vcs-ref`]),
    run: (claims) => link("https://app.circleci.com/pipelines/workflows/", claims[`${CIRCLECI}/workflow-id`]),
  },
};

/** GitHub's own address, or that of an Enterprise Server. */
const serverOf = (iss: unknown) =>
  iss === PRESETS.github.issuer ? "https://github.com" : stringOf(iss)?.replace(/\/_services\/token$/, "");

function link(before: string, id: unknown): string | null {
  const number = stringOf(id);
  return number === null || !/^[\w-]{1,64}$/.test(number) || /undefined|null/.test(before)
    ? null
    : `${before}${number}`;
}

function gitRef(name: unknown, isTag: boolean, isBranch: boolean): string | null {
  const text = stringOf(name);
  if (text === null) return null;
  return isTag ? `refs/tags/${text}` : isBranch ? `refs/heads/${text}` : null;
}

/** Where a token doesn't fit a trust; nothing: it fits. The ids come first: whose token it is, then what for. */
export function mismatchesOf(trust: Trust, claims: Claims): Mismatch[] {
  const preset = PRESETS[trust.provider];
  const first = trust.pinOnFirstUse.flatMap((claim) =>
    stringOf(claims[claim]) === null ? [{ claim, wanted: "an id, to be pinned", got: null }] : [],
  );
  const wrong = Object.entries(trust.pins).flatMap(([claim, allowed]) => {
    const got = stringOf(claims[claim]);
    return got !== null && allowed.includes(got) ? [] : [{ claim, wanted: allowed.join(" or "), got }];
  });
  const cause = preset.cause && stringOf(claims[preset.cause.claim]);
  // A trust from before previews had a scope of their own may name such an event still.
  const byPull =
    preset.cause && cause !== null && trust.action !== "preview" && PULL_EVENTS.includes(cause)
      ? [
          {
            claim: preset.cause.claim,
            wanted: "no pull request's (that is for `--action preview`)",
            got: cause,
          },
        ]
      : [];
  const ref = preset.ref(claims);
  const isRef = ref !== null && trust.refs.some((pattern) => fitsRef(pattern, ref));
  return [
    ...first,
    ...wrong,
    ...byPull.filter(({ claim }) => wrong.every((other) => other.claim !== claim)),
    ...(isRef ? [] : [{ claim: "ref", wanted: trust.refs.join(" or "), got: ref }]),
  ];
}

/** Whether a token is this project's at all, whatever it was made for: then its sender may be told what else is wrong. */
export const isProjectsOwn = (trust: Trust, claims: Claims): boolean => {
  const { ids, name } = PRESETS[trust.provider];
  const about = new Set([...ids, ...name]);
  return !mismatchesOf(trust, claims).some(({ claim }) => about.has(claim));
};

/** The trust with the ids of its first token. */
export const pinned = (trust: Trust, claims: Claims): Pins => ({
  ...trust.pins,
  ...Object.fromEntries(trust.pinOnFirstUse.map((claim) => [claim, [stringOf(claims[claim]) ?? ""]])),
});

const SPECIAL = /[.+?^${}()|[\]\\]/g;

/** Case counts, as in git. */
export function fitsRef(pattern: string, ref: string): boolean {
  const source = pattern
    .replace(SPECIAL, "\\$&")
    .replaceAll(/\*+/g, (stars) => (stars.length > 1 ? ".*" : "[^/]*"));
  return new RegExp(`^${source}$`).test(ref);
}
