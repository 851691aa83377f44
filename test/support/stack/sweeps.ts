/** A module around control whose address `/sweep?at=<ms>` runs the sweep of that moment at once, and answers when it is over. */
export const aroundSweeps = `
import control from "./control.mjs";
export * from "./control.mjs";
export default {
  ...control,
  async fetch(request, env, ctx) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname !== "/sweep") return control.fetch(request, env, ctx);
    await control.scheduled({ cron: "* * * * *", scheduledTime: Number(searchParams.get("at")) }, env, ctx);
    return new Response("swept");
  },
};
`;
