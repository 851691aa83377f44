import { settings } from "./settings.ts";

/** Item → price in cents. */
export const catalogue = { tea: 450, honey: 790, mug: 1_200 } as const;

const escaped = (text: string) => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);

export function page(): string {
  const items = Object.entries(catalogue).map(
    ([item, cents]) => `<li>${item} <small>${(cents / 100).toFixed(2)} €</small></li>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Shop</title>
<style>body { font: 18px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 4rem auto; padding: 0 1rem }</style>
<h1>Shop</h1>
<ul>${items.join("")}</ul>
<p>Version <b id="version">${escaped(settings.version)}</b>, step ${settings.step} of the address column${settings.instance && `, instance ${escaped(settings.instance)}`}.</p>
</html>
`;
}
