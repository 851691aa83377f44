/**
 * Slack's blocks as a page, for pictures alone: about as Slack shows them, without its code or marks. Only what Sluice's own
 * messages are made of is drawn; anything else throws, so that no picture leaves out what is sent.
 */

interface Text {
  readonly type: string;
  readonly text: string;
}
export interface Block {
  readonly type: string;
  readonly text?: Text;
  readonly elements?: readonly (Text & { readonly style?: string })[];
}
const SIGNS: Readonly<Record<string, string>> = {
  x: '<b class="sign bad">✕</b>',
  warning: '<b class="sign warn">!</b>',
  white_check_mark: '<b class="sign good">✓</b>',
};

/** Text has Slack's three escapes already, which are HTML's, too. */
function lines(text: string): string {
  return text
    .split("\n")
    .map((line) =>
      line.startsWith(">") ? `<blockquote>${inline(line.slice(1))}</blockquote>` : `<p>${inline(line)}</p>`,
    )
    .join("");
}

const inline = (text: string): string =>
  text
    .replace(/<(https?:[^|>]+)\|([^>]+)>/g, '<a href="$1">$2</a>')
    .replace(/\*([^*\n]+)\*/g, "<b>$1</b>")
    .replace(/:([a-z_]+):/g, (whole, name: string) => SIGNS[name] ?? whole);

function drawn({ type, text, elements = [] }: Block): string {
  if (type === "section" && text?.type === "mrkdwn") return `<section>${lines(text.text)}</section>`;
  if (type === "context") return `<footer>${elements.map((one) => inline(one.text)).join(" ")}</footer>`;
  throw new Error(`nobody draws a block of the type ${type}`);
}

const message = (blocks: readonly Block[]): string =>
  `<article><i>S</i><div><header><b>Sluice</b> <small>APP</small> <time>20:01</time></header>${blocks.map(drawn).join("")}</div></article>`;

/** One message as a whole page. */
export const slackPage = (blocks: readonly Block[]): string => `<!doctype html><meta charset="utf-8"><style>
  body { margin: 0; padding: 20px 24px; width: 640px; font: 15px/1.46 "DejaVu Sans", sans-serif; color: #1d1c1d; background: #fff }
  article { display: flex; gap: 10px; margin: 0 0 12px }
  i { flex: none; width: 36px; height: 36px; border-radius: 8px; background: #1f5fa8; color: #fff; font: bold 19px/36px "DejaVu Sans"; text-align: center }
  small { background: #e8e8e8; border-radius: 2px; padding: 0 3px; font-size: 10px; color: #616061 }
  time, footer { color: #616061; font-size: 12px }
  p { margin: 2px 0 } footer { margin-top: 6px } a { color: #1264a3; text-decoration: none }
  blockquote { margin: 4px 0; padding-left: 10px; border-left: 4px solid #ddd }
  .sign { display: inline-block; width: 18px; height: 18px; border-radius: 4px; color: #fff; font: bold 12px/18px "DejaVu Sans"; text-align: center }
  .bad { background: #d32f2f } .warn { background: #e09b00 } .good { background: #2e8b57 }
</style>${message(blocks)}`;
