import { jwtVerify } from "jose";
import { z } from "zod";
import requests from "./github-requests.json" with { type: "json" };

type Kind = Exclude<keyof typeof requests, "$comment">;
interface Deployment {
  readonly id: number;
  readonly sha: string;
  readonly environment: string;
  readonly task: string;
  readonly payload: unknown;
  readonly body: Record<string, unknown>;
  readonly statuses: Status[];
}
interface Status {
  readonly state: string;
  readonly description: string;
  readonly context?: string;
  readonly log_url?: string;
  readonly environment_url?: string;
  readonly target_url?: string;
}
type Permission = "deployments" | "statuses";
type Body = Record<string, unknown>;

/** What stands in for GitHub's REST API: it keeps Deployments and statuses, and refuses what GitHub would. */
export class GitHubStandIn {
  readonly deployments: Deployment[] = [];
  readonly commitStatuses: (Status & { sha: string })[] = [];
  readonly commits = new Set<string>();
  /** `METHOD path` of all that was asked. */
  readonly asked: string[] = [];
  repository = "acme/shop";
  token = "github_pat_0123456789abcdefghij";
  may: readonly Permission[] = ["deployments", "statuses"];
  /** By it the app signs; null: there is no app. */
  appKey: CryptoKey | null = null;
  installation = 77;
  /** How many tokens the installation was given, and what the last was asked for. */
  given = 0;
  asking: unknown;
  /** Answered in the place of anything else; null: not this time. */
  trouble: ((request: Request) => Response | null) | null = null;
  readonly #now: () => number;
  #made = 0;
  #tokens = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  async answer(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    this.asked.push(`${request.method} ${pathname}`);
    const troubled = this.trouble?.(request);
    if (troubled) return troubled;
    if (!request.headers.get("user-agent")) return no(403, "Request forbidden by administrative rules.");
    if (request.headers.get("accept") !== "application/vnd.github+json") return no(415, "Unsupported Accept");
    if (request.headers.get("x-github-api-version") !== "2022-11-28") return no(400, "No such API version");
    const text = await request.text();
    const body: Body = text === "" ? {} : JSON.parse(text);
    const login = /^Bearer (.+)$/.exec(request.headers.get("authorization") ?? "")?.[1] ?? "";
    if (pathname.startsWith("/app/") && !pathname.includes(`/${this.installation}/`))
      return no(404, "Not Found");
    if (pathname === `/app/installations/${this.installation}/access_tokens`)
      return this.#tokenFor(login, body);
    const until = this.#tokens.get(login);
    if (login !== this.token && (until === undefined || until <= this.#now()))
      return no(401, "Bad credentials");
    if (pathname === `/repos/${this.repository}`) return Response.json({ id: 1 });
    const path = pathname.startsWith(`/repos/${this.repository}/`)
      ? pathname.slice(`/repos/${this.repository}`.length)
      : "";
    return this.#inRepository(request, path, body);
  }

  #inRepository(request: Request, path: string, body: Body): Response {
    if (request.method === "GET" && path === "/deployments") return this.#list(new URL(request.url));
    if (path === "/deployments") return this.#deploy(body);
    const [, id] = /^\/deployments\/(\d+)\/statuses$/.exec(path) ?? [];
    if (id !== undefined) return this.#say(Number(id), body);
    const [, sha] = /^\/statuses\/([^/]+)$/.exec(path) ?? [];
    return sha === undefined ? no(404, "Not Found") : this.#sayOfCommit(sha, body);
  }

  async #tokenFor(jwt: string, body: Body): Promise<Response> {
    const { appKey } = this;
    if (!appKey) return no(404, "Integration not found");
    const currentDate = new Date(this.#now());
    try {
      const { payload } = await jwtVerify(jwt, appKey, {
        algorithms: ["RS256"],
        issuer: "4711",
        currentDate,
      });
      if ((payload.exp ?? 0) - this.#now() / 1_000 > 600) return no(401, "'Expiration time' is too far");
    } catch {
      return no(401, "A JSON web token could not be decoded");
    }
    const wrong = wrongIn("createInstallationToken", body);
    if (wrong) return wrong;
    const wanted = Object.keys(body.permissions as object);
    if (wanted.some((name) => !this.may.some((may) => may === name)))
      return no(422, "The permissions requested are not granted to this installation.");
    this.asking = body;
    const token = `ghs_${++this.given}`;
    this.#tokens.set(token, this.#now() + 3_600_000);
    return Response.json(
      { token, expires_at: new Date(this.#now() + 3_600_000).toISOString() },
      { status: 201 },
    );
  }

  /** Somebody changed the app. */
  revoke(): void {
    this.#tokens.clear();
  }

  #list({ searchParams: query }: URL): Response {
    const lack = this.#lack("deployments");
    if (lack) return lack;
    const asked = (name: string) => query.get(name);
    const found = this.deployments.filter(
      ({ sha, environment, task }) =>
        (asked("sha") ?? sha) === sha &&
        (asked("environment") ?? environment) === environment &&
        (asked("task") ?? task) === task,
    );
    const size = Math.min(Number(asked("per_page") ?? 30), 100);
    const from = (Number(asked("page") ?? 1) - 1) * size;
    return Response.json(found.toReversed().slice(from, from + size));
  }

  #deploy(body: Body): Response {
    const wrong = this.#lack("deployments") ?? wrongIn("createDeployment", body);
    if (wrong) return wrong;
    if (body.auto_merge !== false) return no(409, "Conflict merging main into the ref");
    if (JSON.stringify(body.required_contexts) !== "[]") return no(409, "Commit status checks failed");
    const sha = String(body.ref);
    if (!this.commits.has(sha)) return no(422, `No ref found for: ${sha}`);
    const { environment = "production", task = "deploy", payload } = body;
    const made = { id: ++this.#made, sha, environment, task, payload, body, statuses: [] } as Deployment;
    this.deployments.push(made);
    return Response.json(made, { status: 201 });
  }

  #say(id: number, body: Body): Response {
    const wrong = this.#lack("deployments") ?? wrongIn("createDeploymentStatus", body);
    if (wrong) return wrong;
    const deployment = this.deployments.find((one) => one.id === id);
    if (!deployment) return no(404, "Not Found");
    deployment.statuses.push(body as unknown as Status);
    return Response.json({ id: ++this.#made, ...body }, { status: 201 });
  }

  #sayOfCommit(sha: string, body: Body): Response {
    const wrong = this.#lack("statuses") ?? wrongIn("createCommitStatus", body);
    if (wrong) return wrong;
    if (!this.commits.has(sha)) return no(422, `No commit found for SHA: ${sha}`);
    this.commitStatuses.push({ ...(body as unknown as Status), sha });
    return Response.json({ id: ++this.#made, ...body }, { status: 201 });
  }

  #lack(permission: Permission): Response | undefined {
    if (this.may.includes(permission)) return undefined;
    const headers = { "x-accepted-github-permissions": `${permission}=write` };
    return no(403, "Resource not accessible by personal access token", { headers });
  }
}

/** As the API's own description has it, and what it says in words alone. */
function wrongIn(kind: Kind, body: Body): Response | undefined {
  const schema = z.fromJSONSchema(requests[kind] as Parameters<typeof z.fromJSONSchema>[0]);
  const parsed = schema.safeParse(body);
  if (!parsed.success) return invalid(parsed.error.issues[0]?.path.join("."), "is not as described");
  const text = String(body.description ?? "");
  if (text.length > 140) return invalid("description", "is too long (maximum is 140 characters)");
  if (/[\u{10000}-\u{10ffff}]|\p{Cc}/u.test(text))
    return invalid("description", "contains unicode characters above 0xffff");
  const urls = [body.log_url, body.environment_url, body.target_url].filter((url) => url !== undefined);
  const isWrong = urls.some((url) => !/^https?:$/.test(URL.parse(String(url))?.protocol ?? ""));
  return isWrong ? invalid("target_url", "must use http(s) scheme") : undefined;
}

const invalid = (field: string | undefined, message: string): Response =>
  Response.json(
    { message: "Validation Failed", errors: [{ resource: "Status", code: "custom", field, message }] },
    { status: 422 },
  );

export const no = (status: number, message: string, init: ResponseInit = {}): Response =>
  Response.json({ message, documentation_url: "https://docs.github.com/rest" }, { ...init, status });
