/**
 * Built assets: files whose names change with what is in them, so that one of an earlier build is the same wherever it comes
 * from, and a page that is open may still ask for it. Told by their names alone.
 */

/** Where bundlers put nothing else: Next, Nuxt, SvelteKit, Astro, Create React App; and Vite, which puts a hash in the name. */
const OF_BUILDS =
  /\/(?:_next\/static|_nuxt|_app\/immutable|_astro|static\/(?:js|css|media))\/|\/assets\/[^/]*[-.](?:[\w-]{8}|[0-9a-f]{8,64})\./;
/** What a browser loads for a page, and no page. */
const FILE =
  /\.(?:m?js|css|map|json|wasm|woff2?|ttf|otf|eot|svg|png|jpe?g|gif|webp|avif|ico|mp[34]|webm|ogg|txt)$/;
/**
 * Eight characters of base64url as Rollup and esbuild write them, or hexadecimal of any length from eight on. Code, styles and
 * fonts alone: pictures are named so by apps that keep what people upload, and what they delete is to be gone.
 */
const NAMED_BY_CONTENT =
  /[-._](?:(?=[\w-]*[0-9]|[\w-]+[A-Z])[\w-]{8}|(?=[a-f]*[0-9])[0-9a-f]{8,64})(?:\.(?:chunk|module|bundle|min))?\.(?:m?js|css|wasm|woff2?)(?:\.map)?$/;
/** A longer path is nobody's build. */
const MOST_CHARS = 512;

/** The path of a request's target, without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query === -1 ? target : target.slice(0, query);
}

/** Whether a path is that of a built asset, or one that the manifest names (`also`: `*` within a segment, `**` across). */
export function isAsset(path: string, also: readonly string[]): boolean {
  if (path.length > MOST_CHARS) return false;
  if (FILE.test(path) && (OF_BUILDS.test(path) || NAMED_BY_CONTENT.test(path))) return true;
  return also.some((pattern) => patternOf(pattern).test(path));
}

/** A page where a file was asked for: a single-page app's answer to whatever it has not. */
export const isPage = (contentType: string | null): boolean =>
  contentType !== null && /^\s*(?:text\/html|application\/xhtml\+xml)\b/i.test(contentType);

const patterns = new Map<string, RegExp>();

function patternOf(pattern: string): RegExp {
  let compiled = patterns.get(pattern);
  if (compiled === undefined) {
    const source = pattern.replace(/\*\*|\*|[^*]+/g, (part) => {
      if (part === "**") return ".*";
      return part === "*" ? "[^/]*" : part.replace(/[\\^$.+?()[\]{}|]/g, "\\$&");
    });
    compiled = new RegExp(`^${source}$`);
    patterns.set(pattern, compiled);
  }
  return compiled;
}

const QUOTED = /["'`(]((?:[\w@~./-]|%[0-9a-fA-F]{2})+\.[a-z0-9]{2,11})(?:\?[\w=&-]*)?["'`)]/g;

/**
 * The built assets that a script or style sheet names, as paths: what a page may load later, though nobody has yet. A name with a
 * folder is relative to whatever in the file's own path comes before that folder, as bundlers write it.
 */
export function assetsIn(text: string, own: string, also: readonly string[], most: number): string[] {
  const found = new Set<string>();
  for (const [, name = ""] of text.matchAll(QUOTED)) {
    if (found.size >= most) break;
    const path = resolved(name, own);
    if (path !== null && path !== own && isAsset(path, also)) found.add(path);
  }
  return [...found];
}

function resolved(name: string, own: string): string | null {
  if (name.startsWith("//")) return null;
  if (name.startsWith("/")) return name;
  const folder = /^[^./][^/]*\//.exec(name)?.[0];
  const at = folder === undefined ? -1 : own.indexOf(`/${folder}`);
  if (at !== -1) return own.slice(0, at + 1) + name;
  return new URL(name, `http://app${own}`).pathname;
}
