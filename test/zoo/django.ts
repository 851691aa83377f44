import { match, ok } from "node:assert/strict";
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Resident } from "./resident.ts";

const PYTHON = "/usr/bin/python3";
const MANAGE = join(import.meta.dirname, "apps/django/manage.py");
const PASSWORD = "correct horse";

const token = (page: string) => /name="csrfmiddlewaretoken" value="([^"]+)"/.exec(page)?.[1] ?? "";

/** Its admin: log in, add a group by a form with a CSRF token, find it, log out. */
export const django: Resident = {
  name: "django",
  programs: { "python3-django": "/usr/lib/python3/dist-packages/django/__init__.py" },
  options: { command: ["sh", "-c", `exec ${PYTHON} manage.py runserver --noreload --insecure $PORT`] },
  async prepare(data) {
    const env = { DATA: data, DJANGO_SUPERUSER_PASSWORD: PASSWORD, PYTHONDONTWRITEBYTECODE: "1" };
    const manage = (...args: string[]) => promisify(execFile)(PYTHON, [MANAGE, ...args], { env });
    await manage("migrate");
    await manage("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com");
  },
  async visit(visitor) {
    const login = "/admin/login/?next=/admin/";
    const form = await visitor.step("the page to log in", async () =>
      token((await visitor.ask(200, login)).text),
    );
    await visitor.step("its style", () => visitor.ask(200, "/static/admin/css/base.css"));
    await visitor.step("logs in", () =>
      visitor.submit(302, login, { username: "admin", password: PASSWORD, csrfmiddlewaretoken: form }),
    );
    await visitor.step("the admin", async () => {
      match((await visitor.ask(200, "/admin/")).text, /Site administration/);
    });
    const add = "/admin/auth/group/add/";
    const name = `group ${randomUUID()}`;
    const adding = await visitor.step("a form", async () => token((await visitor.ask(200, add)).text));
    await visitor.step("adds a group", () => visitor.submit(302, add, { name, csrfmiddlewaretoken: adding }));
    await visitor.step("finds it", async () => {
      const { text } = await visitor.ask(200, `/admin/auth/group/?q=${encodeURIComponent(name)}`);
      ok(text.includes(name), `${name} is not listed`);
    });
    await visitor.step("is refused without a token", () => visitor.submit(403, add, { name }));
    await visitor.step("logs out", () => visitor.ask(200, "/admin/logout/"));
  },
};
