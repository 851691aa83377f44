import { emptyWorld } from "./support/world.ts";

// Files share a workerd: each begins with nothing of the one before.
await emptyWorld();
