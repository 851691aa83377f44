import { askZone } from "../../doctor/ask-zone.ts";
import { examineLive } from "../../doctor/live.ts";
import { type Check, examineHere } from "../../doctor/local.ts";
import { EXIT } from "../../exit-codes.ts";
import { clean, plural } from "../../io/print.ts";
import type { Outcome, Session } from "../../session.ts";
import { examples, type Register } from "../../verb.ts";

export const doctor: Register = (program, act) => {
  program
    .command("doctor")
    .description("looks at everything and says what is wrong and what mends it; changes nothing")
    .argument("[app]", "only what is said of this app")
    .option("--all", "also what is fine and what does not apply")
    .option(
      "--live",
      "also asks hostnames, tunnels and certificates over the internet (needs an admin's token); with CLOUDFLARE_API_TOKEN what only a zone can answer, with things that it makes and removes",
    )
    .option("--name <installation>", "with --live: whose record on this machine to go by", "sluice")
    .addHelpText(
      "before",
      examples("sluice doctor", "sluice doctor shop", "sluice doctor --live", "sluice doctor --all --json"),
    )
    .action(act(run));
};

interface DoctorOptions {
  readonly all?: boolean;
  readonly live?: boolean;
  readonly name: string;
}

async function run(session: Session, app: string | undefined, options: DoctorOptions): Promise<Outcome> {
  const isLive = options.live === true;
  const { view, checks: own } = await examineHere(session, { live: isLive });
  const paths = isLive ? await examineLive(session, view) : [];
  const asked = isLive
    ? await askZone(session, {
        name: options.name,
        control: view,
        found: [...own, ...view.checks, ...paths],
      })
    : null;
  const everything = [...own, ...view.checks, ...paths, ...(asked?.checks ?? [])];
  const checks = app === undefined ? everything : await checksOf(session, app, everything);
  const failed = checks.filter(({ status }) => status === "fail").length;
  const { version, role } = view;
  return {
    exit: failed > 0 ? EXIT.usage : EXIT.ok,
    json: {
      ok: failed === 0,
      version,
      role,
      checks,
      ...(asked ? { answers: asked.answers, report: asked.report } : {}),
    },
    text: [report(session, checks, options.all === true), ...(asked ? ["", PASTE, asked.report] : [])].join(
      "\n",
    ),
  };
}

/** Of its environments and their hostnames. */
async function checksOf(session: Session, app: string, checks: readonly Check[]): Promise<Check[]> {
  const { environments } = await session.client.apps.get(app);
  const subjects = environments.flatMap(({ environment, hostnames }) => [
    `${app}/${environment}`,
    ...hostnames,
  ]);
  return checks.filter(({ subject }) => subjects.includes(subject));
}

const PASTE = "to paste into an issue (docs/first-live-run.md says what each answer means):\n";

const MARKS = { ok: ["green", "✓"], warn: ["yellow", "!"], fail: ["red", "✗"], skip: ["dim", "-"] } as const;

/** By subject, in the order they came; those without trouble as one line, unless all is asked for. */
function report(session: Session, checks: readonly Check[], all: boolean): string {
  const subjects = [...new Set(checks.map(({ subject }) => subject))];
  const parts = subjects.map((subject) => {
    const own = checks.filter((check) => check.subject === subject);
    const shown = all ? own : own.filter(({ status }) => status === "fail" || status === "warn");
    const good = own.filter(({ status }) => status === "ok").length;
    const lines = shown.flatMap((check) => checkLines(session, check));
    const isEmpty = good === 0 && lines.length === 0;
    const told = isEmpty ? "nothing to check (--all says why)" : `${plural(good, "check")} fine`;
    return [`${clean(subject)}  ${told}`, ...lines].join("\n");
  });
  return [...parts, summary(checks)].join("\n");
}

function checkLines({ out }: Session, { status, detail, fix }: Check): string[] {
  const [style, mark] = MARKS[status];
  const line = `  ${out.stdoutIsTty ? out.paint(style, mark) : mark} ${clean(detail)}`;
  return fix === null ? [line] : [line, `      mend: ${clean(fix)}`];
}

function summary(checks: readonly Check[]): string {
  const of = (status: Check["status"]) => checks.filter((check) => check.status === status).length;
  const [failed, warned] = [of("fail"), of("warn")];
  if (failed === 0 && warned === 0) return `\nall is well (${plural(of("ok"), "check")})`;
  return `\n${plural(failed, "thing")} wrong, ${plural(warned, "warning")}`;
}
