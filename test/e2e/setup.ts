import { beforeEach } from "vitest";
import { noteTest } from "../support/stack/evidence.ts";

beforeEach(({ task }) => noteTest(task));
