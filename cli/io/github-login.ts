import { createPrivateKey } from "node:crypto";
import { CliError } from "./problem.ts";

/** A token, or what an app signs its own with. */
export function githubLogin(env: Readonly<Record<string, string | undefined>>) {
  const { GITHUB_APP_ID: id, GITHUB_APP_INSTALLATION_ID: installation, GITHUB_APP_PRIVATE_KEY: pem } = env;
  if (id && installation && pem)
    return { app: { id, installation: Number(installation), privateKey: asPkcs8(pem) } };
  if (env.GITHUB_TOKEN) return { token: env.GITHUB_TOKEN };
  throw new CliError(
    "usage",
    "set GITHUB_TOKEN, or GITHUB_APP_ID, GITHUB_APP_INSTALLATION_ID and GITHUB_APP_PRIVATE_KEY, in the environment",
  );
}

/** GitHub hands out PKCS #1, which a Worker can't read. Some variables hold their lines' ends as `\n`. */
function asPkcs8(pem: string): string {
  try {
    const key = createPrivateKey(pem.replaceAll("\\n", "\n"));
    return key.export({ type: "pkcs8", format: "pem" }).toString();
  } catch {
    throw new CliError(
      "usage",
      "GITHUB_APP_PRIVATE_KEY is no private key in PEM: give the file's whole text",
    );
  }
}
