import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import type { Resident } from "./resident.ts";

const UPLOAD_BYTES = 400_000;
const BOUNDARY = "----visitors-form";

/** PHP behind nginx: a session that counts on, an upload by a form, redirects of nginx's and of PHP's own, a file by its tag. */
export const php: Resident = {
  name: "php",
  programs: { "php-cgi": "/usr/bin/php-cgi", "nginx-light": "/usr/sbin/nginx" },
  options: { command: ["sh", "start.sh"] },
  async visit(visitor) {
    // Debian's nginx hands a FastCGI program the name without its port.
    const host = visitor.hostname;
    for (const visits of [1, 2]) {
      await visitor.step(`a session's page ${visits}`, async () => {
        deepStrictEqual(JSON.parse((await visitor.ask(200, "/")).text), { visits, host, sha1: null });
      });
    }
    await visitor.step("an upload", async () => {
      const file = randomBytes(UPLOAD_BYTES);
      const head = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n`;
      const body = Buffer.concat([Buffer.from(head), file, Buffer.from(`\r\n--${BOUNDARY}--\r\n`)]);
      const headers = { "content-type": `multipart/form-data; boundary=${BOUNDARY}`, origin: visitor.origin };
      const { text } = await visitor.ask(200, "/index.php", { method: "POST", body, headers });
      const sha1 = createHash("sha1").update(file).digest("hex");
      deepStrictEqual(JSON.parse(text), { visits: 3, host, sha1 });
    });
    await visitor.step("a folder without its slash", async () => {
      const { headers } = await visitor.ask(301, "/dir");
      strictEqual(new URL(headers.location ?? "", visitor.origin).href, `${visitor.origin}/dir/`);
    });
    await visitor.step("the folder", () => visitor.ask(200, "/dir/"));
    await visitor.step("a redirect of PHP's", async () => {
      strictEqual((await visitor.ask(303, "/leave.php")).headers.location, "/index.php");
    });
    const tag = await visitor.step("a file", async () => (await visitor.ask(200, "/style.css")).headers.etag);
    await visitor.step("a file that the visitor has", () =>
      visitor.ask(304, "/style.css", { headers: { "if-none-match": tag ?? "" } }),
    );
  },
};
