import { describe, expect, it } from "vitest";
import { defineTrust, type TrustInput } from "../../../src/domain/trust/define.ts";
import {
  type Claims,
  fitsRef,
  mismatchesOf,
  PRESETS,
  type Provider,
  type Trust,
} from "../../../src/domain/trust/trust.ts";

const input = (over: Partial<TrustInput>): TrustInput => ({
  provider: "github",
  project: "acme/shop",
  issuer: null,
  ids: {},
  pinOnFirstUse: false,
  byName: false,
  refs: ["refs/heads/main"],
  events: [],
  claims: {},
  action: "deploy",
  ...over,
});

function defined(over: Partial<TrustInput>): Trust {
  const trust = defineTrust(input(over));
  if (!trust.ok) throw new Error(trust.error);
  return trust.value;
}

const ORGANISATION = "11111111-2222-3333-4444-555555555555";
const CIRCLE = "oidc.circleci.com";

/** A trust and a job of it, as each system's documentation has its tokens. */
const JOBS: Record<Provider, { trust: Trust; claims: Claims; run: string }> = {
  github: {
    trust: defined({ ids: { repository_id: "456", repository_owner_id: "123" } }),
    claims: {
      iss: "https://token.actions.githubusercontent.com",
      repository: "acme/shop",
      repository_id: "456",
      repository_owner_id: "123",
      ref: "refs/heads/main",
      event_name: "push",
      run_id: "77",
    },
    run: "https://github.com/acme/shop/actions/runs/77",
  },
  forgejo: {
    trust: defined({ provider: "forgejo", issuer: "https://git.acme.com/api/actions", byName: true }),
    claims: {
      iss: "https://git.acme.com/api/actions",
      repository: "acme/shop",
      ref: "refs/heads/main",
      event_name: "push",
      run_number: "7",
    },
    run: "https://git.acme.com/acme/shop/actions/runs/7",
  },
  gitlab: {
    trust: defined({
      provider: "gitlab",
      project: "acme/web/shop",
      ids: { project_id: "28", namespace_id: "1" },
    }),
    claims: {
      iss: "https://gitlab.com",
      project_path: "acme/web/shop",
      project_id: "28",
      namespace_id: "1",
      ref: "main",
      ref_type: "branch",
      ref_protected: "true",
      pipeline_source: "push",
      job_id: "1123",
    },
    run: "https://gitlab.com/acme/web/shop/-/jobs/1123",
  },
  buildkite: {
    trust: defined({ provider: "buildkite", ids: { organization_id: "o-1", pipeline_id: "p-1" } }),
    claims: {
      iss: "https://agent.buildkite.com",
      organization_slug: "acme",
      pipeline_slug: "shop",
      organization_id: "o-1",
      pipeline_id: "p-1",
      build_branch: "main",
      build_number: 9,
    },
    run: "https://buildkite.com/acme/shop/builds/9",
  },
  circleci: {
    trust: defined({ provider: "circleci", project: `${ORGANISATION}/p-1` }),
    claims: {
      iss: `https://oidc.circleci.com/org/${ORGANISATION}`,
      [`${CIRCLE}/project-id`]: "p-1",
      [`${CIRCLE}/vcs-ref`]: "refs/heads/main",
      [`${CIRCLE}/ssh-rerun`]: false,
      [`${CIRCLE}/workflow-id`]: "w-1",
    },
    run: "https://app.circleci.com/pipelines/workflows/w-1",
  },
};

describe("a trust", () => {
  it.each(Object.entries(JOBS))("of %s fits its own job, whose address is known", (provider, job) => {
    expect(mismatchesOf(job.trust, job.claims)).toEqual([]);
    expect(job.trust.issuer).toBe(job.claims.iss);
    expect(PRESETS[provider as Provider].run(job.claims)).toBe(job.run);
  });

  it.each<[string, Provider, Record<string, unknown>, string[]]>([
    ["another project that took the name", "gitlab", { project_id: "99" }, ["project_id"]],
    ["another group that took the name", "gitlab", { namespace_id: "99" }, ["namespace_id"]],
    ["a merge request's pipeline", "gitlab", { pipeline_source: "merge_request_event" }, ["pipeline_source"]],
    ["a branch that anybody may push to", "gitlab", { ref_protected: "false" }, ["ref_protected"]],
    ["a tag with the branch's name", "gitlab", { ref_type: "tag" }, ["ref"]],
    ["a tag's build with the branch's name", "buildkite", { build_tag: "main" }, ["ref"]],
    ["another organisation's pipeline", "buildkite", { organization_id: "o-2" }, ["organization_id"]],
    [
      "a token without the ids that must be asked for",
      "buildkite",
      { organization_id: undefined, pipeline_id: undefined },
      ["organization_id", "pipeline_id"],
    ],
    [
      "a job that somebody is in by SSH",
      "circleci",
      { [`${CIRCLE}/ssh-rerun`]: true },
      [`${CIRCLE}/ssh-rerun`],
    ],
    [
      "a job that does not say whether somebody is in it",
      "circleci",
      { [`${CIRCLE}/ssh-rerun`]: undefined },
      [`${CIRCLE}/ssh-rerun`],
    ],
    [
      "another project of the organisation",
      "circleci",
      { [`${CIRCLE}/project-id`]: "p-2" },
      [`${CIRCLE}/project-id`],
    ],
    ["another repository of the instance", "forgejo", { repository: "acme/blog" }, ["repository"]],
    ["a pull request", "forgejo", { event_name: "pull_request" }, ["event_name"]],
    ["a token without a ref", "github", { ref: undefined }, ["ref"]],
  ])("is not for %s (%s)", (_, provider, over, wrong) => {
    const { trust, claims } = JOBS[provider];
    expect(mismatchesOf(trust, { ...claims, ...over }).map(({ claim }) => claim)).toEqual(wrong);
  });

  it("goes by ids once they are pinned, so that a project may change its name", () => {
    const { trust, claims } = JOBS.github;
    expect(mismatchesOf(trust, { ...claims, repository: "acme-inc/store" })).toEqual([]);
  });

  it("may want more, and take causes that are not usual", () => {
    const trust = defined({
      ids: { repository_id: "456", repository_owner_id: "123" },
      events: ["workflow_run"],
      claims: { environment: "production" },
    });
    const { claims } = JOBS.github;
    expect(mismatchesOf(trust, { ...claims, event_name: "workflow_run", environment: "production" })).toEqual(
      [],
    );
    expect(mismatchesOf(trust, claims)).toEqual([{ claim: "environment", wanted: "production", got: null }]);
  });
});

it.each([
  ["refs/heads/main", "refs/heads/main", true],
  ["refs/heads/main", "refs/heads/Main", false],
  ["refs/heads/main", "refs/heads/main2", false],
  ["refs/heads/main", "xrefs/heads/main", false],
  ["refs/heads/ma.n", "refs/heads/main", false],
  ["refs/tags/v*", "refs/tags/v1.2", true],
  ["refs/tags/v*", "refs/tags/v1/evil", false],
  ["refs/heads/*", "refs/tags/main", false],
  ["refs/heads/**", "refs/heads/feature/x", true],
  ["**", "refs/pull/1/merge", true],
])("the ref %s takes %s: %s", (pattern, ref, fits) => {
  expect(fitsRef(pattern, ref)).toBe(fits);
});
