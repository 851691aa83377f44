import { beforeEach } from "vitest";
import { noteTest } from "../support/evidence.ts";

beforeEach(({ task }) => noteTest(task));
