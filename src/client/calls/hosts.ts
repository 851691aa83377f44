import type { z } from "zod";
import {
  type createEnrollmentSchema,
  type EnrollmentView,
  enrollmentSchema,
} from "../../protocol/api/enrollments.ts";
import {
  type HostView,
  hostSchema,
  type RotatedTunnelView,
  rotatedTunnelSchema,
} from "../../protocol/api/hosts.ts";
import { API, type Page, type PageQuery, seg, type Wire } from "../wire.ts";

type CreateEnrollment = z.input<typeof createEnrollmentSchema>;

export class HostCalls {
  readonly #wire: Wire;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  list(page: PageQuery = {}): Promise<Page<HostView>> {
    return this.#wire.page(hostSchema, `${API}/hosts`, page);
  }

  get(name: string): Promise<HostView> {
    return this.#wire.get(hostSchema, `${API}/hosts/${seg(name)}`);
  }

  /** With `force` also one that still has instances: they are no longer reached. */
  async remove(name: string, options: { force?: boolean } = {}): Promise<void> {
    const query = { force: options.force ? 1 : undefined };
    await this.#wire.send({ method: "DELETE", path: `${API}/hosts/${seg(name)}`, query });
  }

  /** Empties a host; said again it answers how far it is. With `force` also where something has nowhere to go. */
  drain(name: string, options: { force?: boolean } = {}): Promise<HostView> {
    const query = { force: options.force ? 1 : undefined };
    return this.#wire.parsed(hostSchema, { method: "PUT", path: `${API}/hosts/${seg(name)}/drain`, query });
  }

  /** Lets a host carry again. */
  undrain(name: string): Promise<HostView> {
    return this.#wire.parsed(hostSchema, { method: "DELETE", path: `${API}/hosts/${seg(name)}/drain` });
  }

  /** Gives the host's agent a new token; the old one ends when the new one is first used. */
  rotate(name: string): Promise<HostView> {
    return this.#wire.parsed(hostSchema, { method: "POST", path: `${API}/hosts/${seg(name)}/rotate` });
  }

  /** Gives the host's tunnel a new token; its agent fetches it by itself. */
  rotateTunnel(name: string): Promise<RotatedTunnelView> {
    return this.#wire.parsed(rotatedTunnelSchema, {
      method: "POST",
      path: `${API}/hosts/${seg(name)}/tunnel/rotate`,
    });
  }

  createEnrollment(body: CreateEnrollment): Promise<EnrollmentView> {
    return this.#wire.parsed(enrollmentSchema, {
      method: "POST",
      path: `${API}/hosts/enrollments`,
      json: body,
    });
  }
}
