import type { AccessoryView } from "../../src/protocol/api/accessories.ts";
import type { ApplyAnswer } from "../../src/protocol/api/apps.ts";
import { clean, table } from "./print.ts";

/** Accessories as lines of a status or a plan; none: no lines. */
export function accessoryRows(accessories: readonly AccessoryView[]): string[] {
  if (accessories.length === 0) return [];
  const rows = accessories.map((view) => [`    ${view.name}`, stateText(view), hostText(view), view.image]);
  const notes = accessories.flatMap((view) =>
    noteOf(view).map((note) => `      ${clean(view.name)}: ${note}`),
  );
  return ["  accessories:", table(rows), ...notes];
}

export const stateText = ({ state }: AccessoryView): string => (state === "absent" ? "not started" : state);

export function hostText({ host, hostState }: AccessoryView): string {
  if (host === null) return "-";
  return hostState === null || hostState === "online" ? host : `${host} (${hostState})`;
}

/** What a person has to know of one beside its state. */
export function noteOf({ declared, differs, cause }: AccessoryView): string[] {
  return [
    ...(cause ? [clean(cause)] : []),
    ...(differs.length > 0 ? [`differs from the manifest: ${clean(differs.join(", "))}`] : []),
    ...(declared ? [] : ["is not in the manifest any more"]),
  ];
}

/** What an apply leaves for `sluice accessory`: it changes none itself. */
export function accessoryNotes(accessories: ApplyAnswer["accessories"]): string[] {
  return accessories.flatMap((view) => {
    const notes = view.state === "absent" ? ["is not started"] : noteOf(view);
    const [next] = view.next;
    const command = next ? `\n    ${clean(next.command)}  (${clean(next.when)})` : "";
    const where = `accessory ${view.name} of ${view.environment}`;
    return notes.length === 0 ? [] : [`  ${clean(where)}: ${notes.join("; ")}${command}`];
  });
}
