import { expect, it } from "vitest";
import { checkPlaces, type Places } from "../../../src/domain/doctor/places.ts";

const near = { subject: "shop/production", kind: "coordinator", colo: "AMS", databaseMs: 3 } as const;
const places = (more: Partial<Places> = {}): Places => ({
  region: "weur",
  database: { region: "WEUR", colo: "AMS" },
  objects: [near, { ...near, subject: "web-1", kind: "link", colo: "FRA" }],
  ...more,
});
const brief = (found: Places) => checkPlaces(found).map(({ subject, status }) => [subject, status]);

it("says where D1 and the objects are, and that new ones come there", () => {
  const [check] = checkPlaces(places());
  expect(check).toMatchObject({ id: "control.region", status: "ok", fix: null });
  expect(check?.detail).toBe(
    "D1 is in weur (AMS); coordinators in AMS; hosts' objects in FRA; new objects are asked to be in weur",
  );
});

it("names an object that is far from D1, what that costs, and the only way to move it", () => {
  const far = { ...near, colo: "IAD", databaseMs: 92 };
  const [, check, ...more] = checkPlaces(places({ objects: [near, far] }));
  expect(more).toEqual([]);
  expect(check).toMatchObject({ id: "object.place", subject: "shop/production", status: "warn" });
  expect(check?.detail).toContain("in IAD, 92 ms from D1");
  expect(check?.detail).toContain("1.6 s");
  expect(check?.fix).toContain("sluice destroy shop/production");
});

it("warns where no region is set, and where D1 is elsewhere than new objects", () => {
  const [unset] = checkPlaces(places({ region: null }));
  expect(unset).toMatchObject({ status: "warn", fix: "sluice setup --region weur" });
  const [apart] = checkPlaces(places({ region: "oc" }));
  expect(apart?.detail).toContain("D1 never moves");
  expect(brief(places({ region: "oc" }))).toEqual([["control", "warn"]]);
});

it("claims nothing where nothing can be told", () => {
  const untold = { ...near, colo: null, databaseMs: 80 };
  expect(brief(places({ database: { region: null, colo: null }, objects: [untold] }))).toEqual([
    ["control", "skip"],
  ]);
});
