import type { Place } from "../../domain/doctor/places.ts";
import type { Result } from "../../domain/result.ts";
import type { Seen } from "../doctor/shield-look.ts";
import type { Refusal } from "../refusal.ts";

/** What a host's link does for the rest of control. Its `fetch` is the agent's wake-up socket. */
export interface HostLinkPort {
  /** Asks the agent to poll. Answers whether anyone was listening; without a socket the agent's own poll finds the work. */
  wake(): Promise<boolean>;
  /** Ends the connection of a host that was removed or whose token was revoked. */
  shut(reason: string): Promise<void>;
  /** There is something to do for the host's tunnel, or for public hostnames: made, or removed. Answers at once. */
  tend(hostId: string): Promise<void>;
  /** Changes the tunnel's secret, and has the agent fetch the new token. */
  rotateTunnel(hostId: string, actor: string): Promise<Result<{ rev: number }, Refusal>>;
  /** Where it runs, for the doctor. */
  place(): Promise<Place>;
  /** Of an object that is no host's: asks a URL as any object does, or as its alarm. Keeps nothing. */
  look(url: string): Promise<Seen>;
  lookInAlarm(url: string): Promise<Seen>;
}
