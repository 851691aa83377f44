import type { z } from "zod";
import {
  type DoctorView,
  doctorSchema,
  type InsideAnswer,
  type InsideQuestion,
  insideAnswerSchema,
} from "../../protocol/api/doctor.ts";
import { type EventView, eventSchema } from "../../protocol/api/events.ts";
import { type DoraView, doraSchema } from "../../protocol/api/figures/dora.ts";
import { healthAnswerSchema } from "../../protocol/api/health.ts";
import { type AuditChain, auditChainSchema } from "../../protocol/audit.ts";
import { API, type Page, type PageQuery, type Wire } from "../wire.ts";

type HealthAnswer = z.infer<typeof healthAnswerSchema>;

export class InstallationCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Every check of the installation that control can make; with `live` the real paths, too; with `only` a part of them. */
  doctor(options: { live?: boolean; only?: "allowances"; signal?: AbortSignal } = {}): Promise<DoctorView> {
    const query = { live: options.live ? 1 : undefined, only: options.only };
    const { signal } = options;
    return this.#wire.parsed(doctorSchema, { method: "GET", path: `${API}/doctor`, query, signal });
  }

  /** What only control can find out, from inside Cloudflare. */
  askInside(question: InsideQuestion): Promise<InsideAnswer> {
    return this.#wire.parsed(insideAnswerSchema, {
      method: "POST",
      path: `${API}/doctor/questions`,
      json: question,
    });
  }

  audit(page: PageQuery = {}): Promise<Page<EventView>> {
    return this.#wire.page(eventSchema, `${API}/audit`, page);
  }

  /** The whole audit log with its hashes, oldest first. */
  auditChain(page: PageQuery = {}): Promise<AuditChain> {
    const query = { cursor: page.cursor, limit: page.limit };
    return this.#wire.parsed(auditChainSchema, { method: "GET", path: `${API}/audit/chain`, query });
  }

  /** The four keys of delivery, of each environment that the token reaches, or of those that are named. */
  dora(
    asked: { app?: string | undefined; environment?: string | undefined; days?: number } = {},
  ): Promise<DoraView> {
    const query = { ...asked };
    return this.#wire.parsed(doraSchema, { method: "GET", path: `${API}/dora`, query });
  }

  health(): Promise<HealthAnswer> {
    return this.#wire.get(healthAnswerSchema, "/health");
  }
}
