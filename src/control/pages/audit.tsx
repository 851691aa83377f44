import { authorize } from "../http/auth.ts";
import type { AppContext } from "../http/context.ts";
import { decodeCursor, toPage } from "../http/route-parts.ts";
import { listEvents } from "../store/events.ts";
import { eventView } from "../views/rows.ts";
import { page } from "./layout.tsx";
import { Name, Table } from "./pieces.tsx";

const PER_PAGE = 100;

/** Everything that changed, and who did it. */
export async function auditPage(c: AppContext): Promise<Response> {
  const { app, environment } = c.var.principal;
  authorize(c, { role: "viewer", app, environment });
  const after = decodeCursor(c.req.query("cursor"), /^\d{1,15}$/);
  const before = after === null ? null : Number(after) || 0;
  const rows = await listEvents(c.var.db, { before, limit: PER_PAGE + 1, app, environment });
  const { items, nextCursor } = toPage(rows, PER_PAGE, { item: eventView, cursor: ({ id }) => String(id) });
  return page(c, {
    title: "Audit · Sluice",
    section: "/ui/audit",
    children: (
      <>
        <h1>Audit</h1>
        <p class="lead">Everything that changed, newest first. Times are UTC.</p>
        <Table label="Audit" stacks heads={["when", "who", "where", "what"]} none="Nothing yet.">
          {items
            .filter((event) => event !== undefined)
            .map((event) => (
              <tr>
                <td class="when">
                  <time datetime={event.at}>{event.at.slice(0, 19).replace("T", " ")}</time>
                </td>
                <td class="when">{event.actor}</td>
                <td>
                  {event.app && event.environment ? (
                    <a href={`/ui/apps/${event.app}/${event.environment}`}>
                      {event.app} / {event.environment}
                    </a>
                  ) : (
                    event.app
                  )}
                </td>
                <td>
                  <Name>{event.message}</Name>
                </td>
              </tr>
            ))}
        </Table>
        {nextCursor && (
          <p>
            <a href={`/ui/audit?cursor=${nextCursor}`}>Older</a>
          </p>
        )}
      </>
    ),
  });
}
