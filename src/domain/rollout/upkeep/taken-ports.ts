import type { Draft } from "../draft.ts";
import { startInstance } from "../instances.ts";
import { place } from "../placing/placement.ts";
import { stop } from "../retire.ts";

/** Somebody else's process may go: its port is tried again after this. */
const ASIDE_MS = 3_600_000;

/**
 * A slot whose port somebody else on the host has taken is no failure of the release: the slot is set aside, and the instance
 * starts in another one. Where none is free the start has failed, and says why.
 */
export function avoidTakenPorts(draft: Draft): void {
  for (const instance of draft.instances()) {
    if (instance.state !== "starting") continue;
    const release = draft.release(instance.releaseId);
    const job = release && draft.jobsOf(release, "start").find((one) => one.instanceId === instance.id);
    if (!release || job?.state !== "failed" || job.error?.code !== "port_in_use") continue;
    const facts = { ...draft.facts, hosts: draft.hosts(), spec: { ...release.spec, replicas: 1 } };
    const placed = place(facts, draft.now);
    const [slot] = placed.ok ? placed.value : [];
    draft.setAside({ slotId: instance.slotId, cause: job.error.message, until: draft.now + ASIDE_MS });
    if (!slot) continue;
    stop(draft, instance);
    startInstance(draft, release, slot);
    const message = `${release.version}: slot ${instance.slot} of ${instance.hostName} is set aside (${job.error.message}); slot ${slot.slot} of ${slot.hostName} takes its place`;
    draft.event("release.progress", release.id, message, { code: "port_in_use", slot: instance.slotId });
  }
}
