import type { Session } from "../../session.ts";

/** By which editors know the keys: control's own schema when it is known, else the one that the project publishes. */
export function schemaLine(session: Session): string {
  const url = controlUrl(session);
  return url === undefined ? "" : `# yaml-language-server: $schema=${url}/api/manifest.schema.json\n`;
}

function controlUrl(session: Session): string | undefined {
  try {
    return session.config.url.replace(/\/$/, "");
  } catch {
    // Not set up yet: the file is as good without it.
    return undefined;
  }
}
