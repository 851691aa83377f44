/** The Model Context Protocol over stdio: JSON-RPC 2.0, a message a line (modelcontextprotocol.io, revision 2025-06-18). */
import { z } from "zod";

/** Newest first. Asked for another one, the newest is offered. */
const REVISIONS = ["2025-06-18", "2025-03-26", "2024-11-05"] as const;
const PARSE_ERROR = -32_700;
const INVALID_REQUEST = -32_600;
const METHOD_NOT_FOUND = -32_601;
const INVALID_PARAMS = -32_602;

/** Something that an agent may ask for. */
export interface Tool {
  readonly name: string;
  readonly description: string;
  readonly input: z.ZodObject;
  /** It changes something. */
  readonly moves: boolean;
  /** Input that was parsed. What it throws is told to the agent. */
  run(input: unknown): Promise<object>;
}

export interface Server {
  readonly version: string;
  readonly instructions: string;
  readonly tools: readonly Tool[];
  /** What an agent is told of an error. */
  explain(error: unknown): object;
}

const requestSchema = z.object({
  jsonrpc: z.literal("2.0"),
  /** Absent: a notification, which nobody answers. */
  id: z.union([z.string(), z.number()]).optional(),
  method: z.string(),
  params: z.record(z.string(), z.unknown()).default({}),
});
type Request = z.infer<typeof requestSchema>;

/** Answers one line; undefined: there is nothing to answer. */
export async function answerLine(server: Server, line: string): Promise<object | undefined> {
  const message = parse(line);
  if (message === undefined) return failure(null, PARSE_ERROR, "that is no JSON");
  const request = requestSchema.safeParse(message);
  if (!request.success)
    return failure(idOf(message), INVALID_REQUEST, "that is no JSON-RPC 2.0 request, or not one alone");
  const { id } = request.data;
  if (id === undefined) return undefined;
  const answer = await answerOf(server, request.data);
  return "error" in answer ? { jsonrpc: "2.0", id, ...answer } : { jsonrpc: "2.0", id, result: answer };
}

/** Who asked wrongly waits for an answer all the same. */
const idOf = (message: unknown): string | number | null =>
  z.object({ id: z.union([z.string(), z.number()]) }).safeParse(message).data?.id ?? null;

const failure = (id: string | number | null, code: number, message: string) => ({
  jsonrpc: "2.0",
  id,
  error: { code, message },
});

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function answerOf(server: Server, { method, params }: Request): object | Promise<object> {
  switch (method) {
    case "initialize":
      return hello(server, params.protocolVersion);
    case "ping":
      return {};
    case "tools/list":
      return { tools: server.tools.map(listed) };
    case "tools/call":
      return call(server, params);
    default:
      return { error: { code: METHOD_NOT_FOUND, message: `there is no method ${method}` } };
  }
}

const hello = ({ version, instructions }: Server, asked: unknown) => ({
  protocolVersion: REVISIONS.find((revision) => revision === asked) ?? REVISIONS[0],
  capabilities: { tools: {} },
  serverInfo: { name: "sluice", version },
  instructions,
});

const listed = ({ name, description, input, moves }: Tool) => ({
  name,
  description,
  inputSchema: z.toJSONSchema(input, { io: "input" }),
  annotations: { readOnlyHint: !moves, destructiveHint: moves },
});

/** An input that doesn't fit and a tool that fails are results: the agent is to read them. */
async function call(server: Server, params: Request["params"]): Promise<object> {
  const tool = server.tools.find(({ name }) => name === params.name);
  if (!tool) return { error: { code: INVALID_PARAMS, message: `there is no tool ${String(params.name)}` } };
  const input = tool.input.safeParse(params.arguments ?? {});
  if (!input.success) return told({ detail: z.prettifyError(input.error) }, true);
  try {
    return told(await tool.run(input.data), false);
  } catch (error) {
    return told(server.explain(error), true);
  }
}

const told = (what: object, isError: boolean) => ({
  content: [{ type: "text", text: JSON.stringify(what, null, 1) }],
  isError,
});
