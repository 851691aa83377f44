import { clean } from "../io/print.ts";

/** What a CI system reads in a job's log beside the text: where a group begins and ends, and which line of which file is wrong. */
export interface Ci {
  readonly name: "github" | "gitlab" | "buildkite" | "other";
  begin(group: string, seconds: number): string | undefined;
  end(group: string, seconds: number): string | undefined;
  annotate(at: Annotation): string | undefined;
}

export interface Annotation {
  readonly level: "error" | "warning";
  readonly title: string;
  readonly message: string;
  readonly file?: string | undefined;
  readonly line?: number | undefined;
}

/** Undefined: no CI. Forgejo's runner says that it is GitHub's, and reads the same. */
export function ciOf(env: Readonly<Record<string, string | undefined>>): Ci | undefined {
  if (env.GITHUB_ACTIONS === "true") return GITHUB;
  if (env.GITLAB_CI) return GITLAB;
  if (env.BUILDKITE) return BUILDKITE;
  return env.CI && env.CI !== "false" ? OTHER : undefined;
}

/** https://docs.github.com/actions/reference/workflow-commands-for-github-actions */
const GITHUB: Ci = {
  name: "github",
  begin: (group) => `::group::${data(group)}`,
  end: () => "::endgroup::",
  annotate({ level, title, message, file, line }) {
    const place =
      file === undefined ? [] : [`file=${property(file)}`, ...(line === undefined ? [] : [`line=${line}`])];
    return `::${level} ${[...place, `title=${property(title)}`].join(",")}::${data(message)}`;
  },
};

/** https://docs.gitlab.com/ci/jobs/job_logs/#custom-collapsible-sections */
const GITLAB: Ci = {
  name: "gitlab",
  begin: (group, at) =>
    `\u001b[0Ksection_start:${at}:sluice_${id(group)}[collapsed=true]\r\u001b[0K${clean(group)}`,
  end: (group, at) => `\u001b[0Ksection_end:${at}:sluice_${id(group)}\r\u001b[0K`,
  annotate: () => undefined,
};

/** https://buildkite.com/docs/pipelines/configure/managing-log-output */
const BUILDKITE: Ci = {
  name: "buildkite",
  begin: (group) => `--- ${clean(group)}`,
  end: () => undefined,
  // Opens the group that it stands in.
  annotate: ({ level }) => (level === "error" ? "^^^ +++" : undefined),
};

const OTHER: Ci = {
  name: "other",
  begin: (group) => `== ${clean(group)}`,
  end: () => undefined,
  annotate: () => undefined,
};

const id = (group: string) => group.replace(/\W+/g, "_");
const MESSAGE_MOST = 2_000;
/** What a workflow command's value may not hold. A message is text of others: none of it may become a command. */
const data = (text: string) =>
  text.slice(0, MESSAGE_MOST).replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
const property = (text: string) => data(text).replaceAll(":", "%3A").replaceAll(",", "%2C");
