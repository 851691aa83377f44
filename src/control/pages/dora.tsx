import { z } from "zod";
import { type Dora, doraOf, type Spread, windowStart } from "../../domain/dora.ts";
import { spell } from "../../domain/times.ts";
import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { readDelivered } from "../store/figures/dora.ts";
import { page } from "./layout.tsx";
import { count, percent, Table } from "./pieces.tsx";

const WINDOWS = [7, 30, 90, 365] as const;
const daysQuery = z.coerce.number().int().min(1).max(366).catch(30);

/** The four keys of every environment that may be seen. Of what there is none nothing is said: a 0 would be praise. */
export async function doraPage(c: AppContext): Promise<Response> {
  const { app, environment } = c.var.principal;
  authorize(c, { role: "viewer", app, environment });
  const days = daysQuery.parse(c.req.query("days"));
  const from = windowStart(c.var.now(), days);
  const found = await readDelivered(c.var.db, { app, environment, from });
  return page(c, {
    title: `DORA, ${days} days · Sluice`,
    section: "/ui/dora",
    children: (
      <>
        <h1>DORA</h1>
        <p class="lead">How often, how fast and how well is delivered: the last {days} days.</p>
        <nav aria-label="Window">
          <ul class="moves">
            {WINDOWS.map((one) => (
              <li>
                <a class="btn" href={`/ui/dora?days=${one}`} aria-current={one === days ? "page" : undefined}>
                  {one} days
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <Table label="The four keys" stacks heads={HEADS} nums={["deployments", "a day"]} none="No app yet.">
          {found.map(({ releases, ...names }) => (
            <Row {...names} dora={doraOf(releases, days)} />
          ))}
        </Table>
        <p class="soft">
          Times are medians; nine of ten take no longer than the p90. Lead time: from the commit to all
          traffic. Change failure rate: of the releases that visitors saw, those that were taken back. Time to
          restore: from a failed change's first traffic until its traffic was given back.
        </p>
      </>
    ),
  });
}

const HEADS = [
  "environment",
  "deployments",
  "a day",
  "lead time",
  "change failure rate",
  "time to restore",
] as const;

const Row = (props: { app: string; environment: string; dora: Dora }) => {
  const { app, environment, dora } = props;
  return (
    <tr>
      <th scope="row">
        <a href={`/ui/apps/${app}/${environment}`}>
          {app} / {environment}
        </a>
      </th>
      <td class="num" data-label="deployments">
        {count(dora.deployments)}
      </td>
      <td class="num" data-label="a day">
        {dora.perDay.toFixed(2)}
      </td>
      <td data-label="lead time">
        <Time of={dora.leadTime} />
      </td>
      <td data-label="change failure rate">
        {dora.changeFailureRate === null ? (
          <span class="soft">no change yet</span>
        ) : (
          <>
            {percent(dora.changeFailureRate * 100)}{" "}
            <span class="soft">
              {dora.failures} of {dora.changes}
            </span>
          </>
        )}
      </td>
      <td data-label="time to restore">
        <Time of={dora.timeToRestore} />
      </td>
    </tr>
  );
};

const Time = ({ of }: { of: Spread | null }) =>
  of === null ? (
    <span class="soft">none</span>
  ) : (
    <>
      {spell(of.medianMs)} <span class="soft">p90 {spell(of.p90Ms)}</span>
    </>
  );
